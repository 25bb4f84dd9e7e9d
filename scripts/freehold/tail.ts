/** What `wrangler tail --format json` prints, as lines of a log: what the Worker wrote (src/kernel/log.ts), and what it threw. */
import { z } from 'zod'

const Event = z.looseObject({
  outcome: z.string().nullish(),
  eventTimestamp: z.number().nullish(),
  exceptions: z.array(z.looseObject({ name: z.string(), message: z.unknown(), timestamp: z.number() })).nullish(),
  logs: z.array(z.looseObject({ message: z.unknown(), level: z.string(), timestamp: z.number() })).nullish(),
  event: z
    .looseObject({
      request: z.looseObject({ url: z.string(), method: z.string() }).nullish(),
      response: z.looseObject({ status: z.number() }).nullish(),
    })
    .nullish(),
})
const Written = z.looseObject({
  at: z.string(),
  event: z.string(),
  tenant: z.string().nullish(),
  trace_id: z.string().optional(),
})

export const LEVELS = ['info', 'warn', 'error'] as const
type Level = (typeof LEVELS)[number]
/** One line. `status` is that of the request during which it was written. */
export type Line = {
  at: string
  level: Level
  event: string
  tenant: string | null
  trace_id: string | null
  status: number | null
}
/** Which lines are wanted. */
export type Filter = { tenant?: string; trace?: string; level?: Level; status?: string }

/** The documents in a text that arrives in pieces: one after the other, over many lines or in one; and the lines that are none. */
export async function* documents(pieces: AsyncIterable<string>): AsyncGenerator<{ document: unknown } | { said: string }, void> {
  let rest = ''
  let begun: string[] = []
  for await (const piece of pieces) {
    const lines = (rest + piece).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) {
      if (!begun.length && !line.startsWith('{')) {
        if (line.trim()) yield { said: line }
        continue
      }
      begun.push(line)
      // The end of a document is the first brace that is not indented.
      if (!line.endsWith('}') || (begun.length > 1 && line !== '}')) continue
      const text = begun.join('\n')
      begun = []
      const document = parsed(text)
      yield document === undefined ? { said: text } : { document }
    }
  }
}

/** The lines of an event: none, when it is not what a tail sends. */
export function linesOf(document: unknown): Line[] {
  const event = Event.safeParse(document)
  if (!event.success) return []
  const { logs, exceptions, outcome, eventTimestamp, event: about } = event.data
  const status = about?.response?.status ?? null
  const written = (logs ?? []).map((log) => lineOf(log, status))
  // A line without a tenant, such as that of an exception, is of the request that it was written in; a scheduled job has many.
  const { tenant = null, trace_id = null } = (about?.request && written.find((line) => line.tenant !== null)) || {}
  const thrown = (exceptions ?? []).map(({ name, message, timestamp }) => ({
    ...bare(timestamp, 'error', 'exception', status),
    error: `${name}: ${String(message)}`,
  }))
  const lines = [...written, ...thrown]
  if (!lines.length && outcome !== 'ok' && outcome) lines.push(bare(eventTimestamp ?? 0, 'error', outcome, status))
  return lines.map((line) => ({ ...line, tenant: line.tenant ?? tenant, trace_id: line.trace_id ?? trace_id }))
}

const bare = (timestamp: number, level: Level, event: string, status: number | null): Line => ({
  at: new Date(timestamp).toISOString(),
  level,
  event,
  tenant: null,
  trace_id: null,
  status,
})

function lineOf(
  { message, level, timestamp }: { message: unknown; level: string; timestamp: number },
  status: number | null,
): Line {
  const texts = Array.isArray(message) ? message : [message]
  const ours = Written.safeParse(texts.length === 1 && typeof texts[0] === 'string' ? parsed(texts[0]) : undefined)
  if (!ours.success) {
    const said = texts.map((text) => (typeof text === 'string' ? text : JSON.stringify(text))).join(' ')
    return { ...bare(timestamp, levelOf(level, {}, status), 'console', status), said } as Line
  }
  const { tenant = null, trace_id = null, status: own, ...fields } = ours.data
  const answered = typeof own === 'number' ? own : status
  return {
    ...fields,
    level: levelOf(level, fields, ours.data.event === 'request' ? answered : null),
    tenant,
    trace_id,
    status: answered,
  }
}

/** An error: what failed, and answers of 500 and above. A warning: answers of 400 and above. */
function levelOf(console: string, fields: Record<string, unknown>, status: number | null): Level {
  if (console === 'error' || typeof fields.error === 'string' || (status ?? 0) >= 500) return 'error'
  return console === 'warn' || (status ?? 0) >= 400 ? 'warn' : 'info'
}

/** Whether a line is wanted. */
export const isWanted = (line: Line, { tenant, trace, level, status }: Filter): boolean =>
  (tenant === undefined || line.tenant === tenant) &&
  (trace === undefined || line.trace_id === trace) &&
  (level === undefined || LEVELS.indexOf(line.level) >= LEVELS.indexOf(level)) &&
  (status === undefined || (line.status !== null && String(line.status).startsWith(status.replace(/xx$/, ''))))

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
