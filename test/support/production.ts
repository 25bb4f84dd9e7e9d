/**
 * What Cloudflare refuses in production and the local runtime does not, refused here too, so that it cannot pass unnoticed.
 */
const MAX_ITERATIONS = 100_000
const { subtle } = crypto

for (const name of ['deriveBits', 'deriveKey'] as const) {
  const real = subtle[name].bind(subtle) as (...args: unknown[]) => Promise<unknown>
  Object.defineProperty(subtle, name, {
    configurable: true,
    value: async (algorithm: { iterations?: number }, ...rest: unknown[]) => {
      if ((algorithm.iterations ?? 0) > MAX_ITERATIONS) {
        const words = `Pbkdf2 failed: iteration counts above ${MAX_ITERATIONS} are not supported (requested ${algorithm.iterations}).`
        throw new DOMException(words, 'NotSupportedError')
      }
      return real(algorithm, ...rest)
    },
  })
}
