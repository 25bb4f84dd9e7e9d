/**
 * Problems in the caller's language. The English sentence in the code is the key of its Spanish translation; `code` and the names
 * in a sentence (fields, permissions, headers) never change. Threat: a value in a sentence that makes the lookup expensive, so
 * the length of a sentence is bounded. The tables are an asset of the Worker, which an isolate reads for the first request in Spanish.
 */
import type { z } from 'zod'
import es from 'zod/v4/locales/es.js'
import { type Language, problemCatalogue } from '../kernel/problem.ts'
import { plain } from './plain.ts'
import type { Spanish } from './spanish/spanish.ts'

/** Longer sentences stay English. */
const LONGEST_SENTENCE = 1000

export const ENGLISH: Language = {
  tag: 'en',
  title: (code) => problemCatalogue[code][1],
  sentence: (english) => english,
  issue: (issue, body) => plain(issue, inputAt(body, issue)),
}

export const SPANISH: Language = {
  tag: 'es',
  title: (code) => given?.problems[code]?.[0] ?? ENGLISH.title(code),
  sentence: (english) => inSpanish(english) ?? english,
  // A message of ours is in the table; any other is zod's, which has its own Spanish.
  issue: (issue, body) =>
    inSpanish(plain(issue, inputAt(body, issue))) ?? (issue.code === 'custom' ? issue.message : zodsSpanish(issue, body)),
}

type Pattern = { english: RegExp; spanish: string; weight: number }
let given: Spanish | undefined
let tables: { exact: Map<string, string>; patterns: Pattern[] } | undefined

/** True once the tables are here; until then Spanish is English. */
export const speaksSpanish = () => given !== undefined

/** Gives the tables. They are compiled on first use. */
export function learnSpanish(spanish: Spanish): void {
  given = spanish
  tables = undefined
}

/** Sentences without values, and patterns of those with values, the most specific first. */
function compiled() {
  if (tables) return tables
  const codes = Object.keys(problemCatalogue) as (keyof typeof problemCatalogue)[]
  const { problems, sentences } = given ?? { problems: null, sentences: [] }
  const exact = new Map<string, string>(
    codes.map((code) => [problemCatalogue[code][2], problems?.[code]?.[1] ?? problemCatalogue[code][2]]),
  )
  const patterns: Pattern[] = []
  for (const [english, spanish] of sentences) {
    const parts = english.split(/\{(\w+)\}/)
    const fixed = parts.filter((_, i) => i % 2 === 0)
    if (parts.length === 1) exact.set(english, spanish)
    else {
      const source = parts.map((part, i) => (i % 2 ? `(?<${part}>[^]+?)` : part.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&')))
      patterns.push({ english: new RegExp(`^${source.join('')}$`, 'u'), spanish, weight: fixed.join('').length })
    }
  }
  tables = { exact, patterns: patterns.sort((a, b) => b.weight - a.weight) }
  return tables
}

/** An English sentence in Spanish, with its values unchanged; undefined if no table has it. */
function inSpanish(sentence: string): string | undefined {
  const { exact, patterns } = compiled()
  const known = exact.get(sentence)
  if (known !== undefined || sentence.length > LONGEST_SENTENCE) return known
  for (const { english, spanish } of patterns) {
    const values = english.exec(sentence)?.groups
    if (values)
      return spanish.replace(/\{(\w+)(:parts)?\}/g, (_, name: string, parts?: string) => {
        const value = values[name] ?? ''
        return parts ? partsInSpanish(value) : value
      })
  }
}

/** A value that is itself a sentence, or a list of phrases: `assigned to ana; inherited by lead`, `active or inactive`. */
function partsInSpanish(list: string): string {
  if (/^\w+( or \w+)+$/.test(list)) return list.replaceAll(' or ', ' o ')
  const phrases = list.split('; ').map((phrase) => inSpanish(phrase) ?? phrase)
  return compiled().exact.get(list) ?? phrases.join('; ')
}

let zodsOwn: z.core.$ZodErrorMap | undefined

/** The value that an issue points at: zod drops it from a finished issue. */
function inputAt(body: unknown, { path }: z.core.$ZodIssue): unknown {
  const inner = (value: unknown, key: PropertyKey) =>
    typeof value === 'object' && value !== null && Object.hasOwn(value, key) ? Reflect.get(value, key) : undefined
  return path.reduce<unknown>(inner, body)
}

/** An issue in zod's own Spanish, which names the type of the input. */
function zodsSpanish(issue: z.core.$ZodIssue, body: unknown): string {
  zodsOwn ??= es().localeError
  const translated = zodsOwn({ ...issue, input: inputAt(body, issue) } as z.core.$ZodRawIssue)
  return (typeof translated === 'string' ? translated : translated?.message) ?? issue.message
}
