/**
 * The lines of an import, parsed and in batches. Threat: a broken line that stops the others, and a file that ends half-way and looks
 * complete. So each line has its own issues, and the end of the batches says why reading stopped.
 */
import type { z } from 'zod'
import { issuesIn } from '../http/issues.ts'
import type { Issue, Language } from '../kernel/problem.ts'
import { linesOf, valueIn } from './ndjson.ts'

const BATCH = 200
export const MAX_LINE = 16 * 1024
const MAX_LINES = 100_000

export type Refused = { code: string; errors: Issue[] }
/** What a line means, and what of it was left out. */
export type Accepted<T> = { item: T; warnings: Issue[] }
export type Read<T> = { line: number } & (Accepted<T> | Refused)
/** Why reading stopped before the end of the body. */
export type Broken = { code: string; detail: string }
/** The value on a line, or why there is none; `last`: nothing is read after it. */
export type Valued = { line: number; last?: true } & ({ value: unknown } | { faults: Issue[] })

export const refused = (...errors: Issue[]): Refused => ({ code: 'invalid_request', errors })

/** What a schema makes of a value, or its issues in the caller's language. */
export function parsed<S extends z.ZodType>(schema: S, value: unknown, language: Language): { data: z.output<S> } | Refused {
  const { data, error } = schema.safeParse(value)
  return error ? refused(...issuesIn('#', error.issues, (found) => language.issue(found, value))) : { data }
}

/** The lines of JSON that are not blank. */
export async function* jsonLines(body: ReadableStream<Uint8Array>): AsyncGenerator<Valued, void> {
  let line = 0
  for await (const bytes of linesOf(body, MAX_LINE)) {
    line++
    const said = valueIn(bytes, MAX_LINE)
    if (said) yield { line, ...said }
  }
}

/** Lines, each read by `read`, 200 at a time. Returns why reading stopped before the end, if it did. */
export async function* batchesOf<T>(
  lines: AsyncIterable<Valued>,
  read: (value: unknown) => Accepted<T> | Refused,
): AsyncGenerator<Read<T>[], Broken | undefined> {
  let batch: Read<T>[] = []
  let line = 0
  let broken: Broken | undefined
  try {
    for await (const said of lines) {
      line = said.line
      if (line > MAX_LINES) {
        broken = { code: 'invalid_request', detail: `A file has at most ${MAX_LINES} lines: send the rest in another file.` }
        break
      }
      batch.push({ line, ...('faults' in said ? refused(...said.faults) : read(said.value)) })
      if (said.last) {
        broken = { code: 'invalid_request', detail: `The quote on line ${line} does not end: nothing after it was read.` }
        break
      }
      if (batch.length < BATCH) continue
      yield batch
      batch = []
    }
  } catch {
    broken = { code: 'invalid_request', detail: `The body was cut off after line ${line}: send the file again.` }
  }
  if (batch.length) yield batch
  return broken
}
