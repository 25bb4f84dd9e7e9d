/**
 * Reads lines of JSON (NDJSON) as they arrive. Threat: a body or a line without an end, which fills the memory. So at most `max`
 * bytes of a line are kept, and a longer line is dropped.
 */
import { jsonOf, textOf } from '../http/json.ts'
import { type Issue, Problem } from '../kernel/problem.ts'

/** A line as bytes, without its line break; `null`: it is too long. */
export type NdjsonLine = Uint8Array | null

const LF = 10
const CR = 13
const BOM = [0xef, 0xbb, 0xbf]

/**
 * The lines of a body in order, each of at most `max` bytes. The last one may lack its line break. Throws what the body throws.
 */
export async function* linesOf(body: ReadableStream<Uint8Array>, max: number): AsyncGenerator<NdjsonLine, void> {
  const held = new Uint8Array(max + 1)
  let size = 0
  let isFirst = true
  const add = (part: Uint8Array) => {
    held.set(part.subarray(0, Math.max(0, held.length - size)), size)
    size = Math.min(held.length, size + part.length)
  }
  const line = (): NdjsonLine => {
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

/** The JSON value of a line, or why it has none; null for a blank line. */
export function valueIn(line: NdjsonLine, max: number): { value: unknown } | { faults: Issue[] } | null {
  if (!line) return { faults: [{ pointer: '#', detail: `is longer than ${max} bytes` }] }
  try {
    const text = textOf(line)
    return /^[ \t\r]*$/.test(text) ? null : { value: jsonOf(text) }
  } catch (error) {
    if (error instanceof Problem && error.errors) return { faults: error.errors }
    throw error
  }
}
