/**
 * A zip file (PKWARE's APPNOTE) of texts, as a stream: each file is compressed by the platform while it is read, and its size and
 * checksum follow it, so that nothing is held in memory. At most 65,535 files and 4 GiB, which an export of a person never has.
 */
export type ZippedFile = { name: string; text: AsyncIterable<string> }

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let sum = byte
  for (let bit = 0; bit < 8; bit++) sum = sum & 1 ? (sum >>> 1) ^ 0xedb88320 : sum >>> 1
  return sum
})

/** Continues the CRC-32 of what came before; `begun` is 0 at first. */
export function crc32(bytes: Uint8Array, begun = 0): number {
  let sum = ~begun
  for (const byte of bytes) sum = (TABLE[(sum ^ byte) & 0xff] as number) ^ (sum >>> 8)
  return ~sum >>> 0
}

/** Little-endian fields: [bytes, value] each. */
function fields(...values: [2 | 4, number][]): Uint8Array {
  const view = new DataView(new ArrayBuffer(values.reduce((sum, [size]) => sum + size, 0)))
  let at = 0
  for (const [size, value] of values) {
    if (size === 2) view.setUint16(at, value, true)
    else view.setUint32(at, value, true)
    at += size
  }
  return new Uint8Array(view.buffer)
}

const VERSION = 20
/** Sizes follow the data, and names are UTF-8. */
const FLAGS = 0x0808
const DEFLATED = 8

/** Date and time as MS-DOS has them, in UTC. */
const dosTime = (at: Date): [number, number] => [
  (at.getUTCHours() << 11) | (at.getUTCMinutes() << 5) | (at.getUTCSeconds() >> 1),
  ((at.getUTCFullYear() - 1980) << 9) | ((at.getUTCMonth() + 1) << 5) | at.getUTCDate(),
]

export async function* zipped(files: AsyncIterable<ZippedFile>, at: Date): AsyncGenerator<Uint8Array> {
  const encoder = new TextEncoder()
  const [time, date] = dosTime(at)
  const directory: Uint8Array[] = []
  let offset = 0
  for await (const { name, text } of files) {
    const begins = offset
    const named = encoder.encode(name)
    const shared: [2 | 4, number][] = [
      [2, VERSION],
      [2, FLAGS],
      [2, DEFLATED],
      [2, time],
      [2, date],
    ]
    const head = fields([4, 0x04034b50], ...shared, [4, 0], [4, 0], [4, 0], [2, named.length], [2, 0])
    yield head
    yield named
    const counted = { sum: 0, size: 0 }
    let packed = 0
    for await (const chunk of deflated(text, counted)) {
      packed += chunk.length
      yield chunk
    }
    const sizes: [2 | 4, number][] = [
      [4, counted.sum],
      [4, packed],
      [4, counted.size],
    ]
    yield fields([4, 0x08074b50], ...sizes)
    offset += head.length + named.length + packed + 16
    const rest: [2 | 4, number][] = [
      [2, named.length],
      [2, 0],
      [2, 0],
      [2, 0],
      [2, 0],
      [4, 0],
      [4, begins],
    ]
    directory.push(fields([4, 0x02014b50], [2, VERSION], ...shared, ...sizes, ...rest), named)
  }
  const length = directory.reduce((sum, part) => sum + part.length, 0)
  yield* directory
  const count = directory.length / 2
  yield fields([4, 0x06054b50], [2, 0], [2, 0], [2, count], [2, count], [4, length], [4, offset], [2, 0])
}

/** The text, compressed; `counted` has its checksum and size once it is read to its end. */
async function* deflated(text: AsyncIterable<string>, counted: { sum: number; size: number }): AsyncIterable<Uint8Array> {
  const encoder = new TextEncoder()
  const parts = text[Symbol.asyncIterator]()
  const source = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { done, value } = await parts.next()
      if (done) return controller.close()
      const bytes = encoder.encode(value)
      counted.sum = crc32(bytes, counted.sum)
      counted.size += bytes.length
      controller.enqueue(bytes)
    },
  })
  const packing = new CompressionStream('deflate-raw') as ReadableWritablePair<Uint8Array, Uint8Array>
  const reader = source.pipeThrough(packing).getReader()
  for (let part = await reader.read(); !part.done; part = await reader.read()) yield part.value
}
