/**
 * Lines of JSON (NDJSON) as they arrive. Threat: a body or a line without an end, which fills the memory. So a line is held as far as it may
 * be long, and of what is longer nothing is.
 */

/** A line as bytes, without its end; `null`: longer than it may be. */
export type Line = Uint8Array | null

const LF = 10
const CR = 13
const BOM = [0xef, 0xbb, 0xbf]

/** The lines of a body, in their order, each of at most so many bytes. The last one may lack its end. Fails as the body does. */
export async function* linesOf(body: ReadableStream<Uint8Array>, max: number): AsyncGenerator<Line, void> {
  const held = new Uint8Array(max + 1)
  let size = 0
  let isFirst = true
  const add = (part: Uint8Array) => {
    held.set(part.subarray(0, Math.max(0, held.length - size)), size)
    size = Math.min(held.length, size + part.length)
  }
  const line = (): Line => {
    const from = isFirst && BOM.every((byte, i) => held[i] === byte) ? BOM.length : 0
    const to = size > 0 && held[size - 1] === CR ? size - 1 : size
    const taken = size > max ? null : held.slice(Math.min(from, to), to)
    isFirst = false
    size = 0
    return taken
  }
  for await (const chunk of body) {
    let start = 0
    for (let end = chunk.indexOf(LF); end !== -1; end = chunk.indexOf(LF, start)) {
      add(chunk.subarray(start, end))
      yield line()
      start = end + 1
    }
    add(chunk.subarray(start))
  }
  if (size > 0) yield line()
}

/** What a line says: a value, or in a word what is wrong with it; null when it is blank. */
export function valueIn(line: Line, max: number): { value: unknown } | { fault: string } | null {
  if (!line) return { fault: `is longer than ${max} bytes` }
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(line)
  } catch {
    return { fault: 'is not UTF-8' }
  }
  if (/^[ \t\r]*$/.test(text)) return null
  try {
    return { value: JSON.parse(text) }
  } catch {
    return { fault: 'is not JSON, or not all of it' }
  }
}
