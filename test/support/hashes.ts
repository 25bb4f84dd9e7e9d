/**
 * What PBKDF2 gives at the cost of production is computed once for the same password and salt: whom nobody knows, and whoever is locked
 * out, is hashed at that cost also where all others are hashed cheaply (LOW_COST), a quarter of a second each time. It is what Web
 * Crypto computed, and lies below what tests put around it to count calls and iterations.
 */

/** Less than this costs no more than it takes to look. */
const EXPENSIVE = 50_000
const MOST_KEPT = 2_000

const held = crypto.subtle as SubtleCrypto & { freehold_hashes?: Map<string, ArrayBuffer> }
if (!held.freehold_hashes) {
  const kept = new Map<string, ArrayBuffer>()
  held.freehold_hashes = kept
  const secrets = new WeakMap<CryptoKey, string>()
  const { importKey, deriveBits } = crypto.subtle
  const hex = (bytes: BufferSource) =>
    [
      ...new Uint8Array(
        ArrayBuffer.isView(bytes) ? bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) : bytes,
      ),
    ].join()
  const replace = (name: string, value: unknown) =>
    Object.defineProperty(crypto.subtle, name, { configurable: true, writable: true, value })

  replace('importKey', async (...given: any[]) => {
    const key = await (importKey as any).apply(crypto.subtle, given)
    if (given[0] === 'raw' && (given[2]?.name ?? given[2]) === 'PBKDF2') secrets.set(key, hex(given[1]))
    return key
  })
  replace('deriveBits', async (algorithm: any, key: CryptoKey, length: number) => {
    const secret = secrets.get(key)
    const real = () => deriveBits.call(crypto.subtle, algorithm, key, length)
    if (algorithm?.name !== 'PBKDF2' || !(algorithm.iterations >= EXPENSIVE) || secret === undefined) return real()
    const { hash, salt, iterations } = algorithm
    const about = JSON.stringify([hash?.name ?? hash, hex(salt), iterations, length, secret])
    const bits = kept.get(about) ?? (await real())
    if (kept.size >= MOST_KEPT) kept.clear()
    kept.set(about, bits)
    return bits.slice(0)
  })
}
