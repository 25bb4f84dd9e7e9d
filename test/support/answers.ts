/** What Neon, a proxy before it, or a database may answer instead, as faults of the local Neon. */
import type { Fault } from '../../scripts/local-neon/fault.ts'

/** A fault without what it happens to. */
export type Answering = Omit<Fault, 'match' | 'times'>

/** A request of a database. */
export const SQL: Fault['match'] = { method: 'POST', path: '^/sql$' }

export const status = (
  code: number,
  body: string,
  headers: Record<string, string> = { 'content-type': 'application/json' },
): Answering => ({ kind: 'status', status: code, body, headers })
export const json = (message: string) => JSON.stringify({ message, code: '' })

export const LOCKED = status(
  423,
  json('project already has running conflicting operations, scheduling of new ones is prohibited'),
)
export const RATE = status(429, json('too many requests'))
export const RATE_AFTER = status(429, json('too many requests'), { 'content-type': 'application/json', 'Retry-After': '1' })
export const BROKEN = status(500, json('internal error'))
export const HTML = '<!DOCTYPE html><html><head><title>524: A timeout occurred</title></head></html>'
export const GATEWAY = status(524, HTML, { 'content-type': 'text/html' })
export const REFUSED = status(400, json('the region is closed'))

/** No more than a step has tries: of raw calls and lists the SDK tries none again itself. */
export const ALL_ANSWERS = [
  { ...LOCKED, times: 2 },
  { ...RATE_AFTER, times: 1 },
  { ...RATE, times: 1 },
  { ...BROKEN, times: 1 },
  { ...GATEWAY, times: 1 },
]

/** Lets `first` requests of databases pass, and then spoils `times` of them that have `gap` between them, by these faults in turns. */
export const spoiled = (first: number, gap: number, times: number, ...faults: Answering[]): Fault[] =>
  Array.from({ length: times }, (_, i) => i).flatMap((i): Fault[] => [
    { match: SQL, times: i === 0 ? first : gap, kind: 'delay', ms: 0 },
    { match: SQL, times: 1, ...(faults[i % faults.length] ?? BROKEN) },
  ])
