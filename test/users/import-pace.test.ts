/**
 * Threat: a caller who sends a file and does not read what became of it, so that the report fills the memory of an isolate that
 * other tenants share; and one who leaves, so that nobody recorded what was imported.
 */
import { createExecutionContext, waitOnExecutionContext } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { app } from '../../src/app.ts'
import { type Inside, inside } from '../support/inside.ts'
import { call } from '../support/people.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

const AT = 'paced'
const BATCH = 200
let realm: Inside
let token: string

beforeAll(async () => {
  await copyTenant(AT)
  realm = await inside(AT)
  token = await tokenOf(AT)
})

/** Begins an import of `batches` times 200 people, whose file is made only as it is read. */
async function begin(name: string, batches: number) {
  const sent = { lines: 0 }
  const body = new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        const lines = Array.from({ length: 20 }, () => `${JSON.stringify({ email: `${name}-${sent.lines++}@paced.test` })}\n`)
        controller.enqueue(new TextEncoder().encode(lines.join('')))
        if (sent.lines >= batches * BATCH) controller.close()
      },
    },
    { highWaterMark: 0 },
  )
  const context = createExecutionContext()
  const headers = { Authorization: `Bearer ${token}`, 'Content-Type': 'application/x-ndjson' }
  const init = { method: 'POST', headers, body, duplex: 'half' } as RequestInit
  const response = await app.fetch(new Request(`http://${AT}.freehold.test/api/v1/users/import`, init), env, context)
  expect(response.status).toBe(200)
  const reader = (response.body as ReadableStream<Uint8Array>).getReader()
  const written = async () => {
    const [row] = await realm.asOwner(
      sql`select count(*)::int as n from freehold.users where email like ${`${name}-%@paced.test`}`,
    )
    return Number(row?.n)
  }
  const trace_id = response.headers.get('X-Trace-Id')
  return { sent, reader, written, trace_id, settled: () => waitOnExecutionContext(context) }
}

/** More work in the same isolate and database than a batch is, so that an import that goes on by itself would have gone on. */
async function otherWork() {
  for (let i = 0; i < 40; i++) expect((await call(AT, '/api/v1/auth/me', { token })).status).toBe(200)
}

const rowsOf = (part: Uint8Array | undefined) =>
  new TextDecoder()
    .decode(part)
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))

describe('an import', () => {
  it('whose report nobody reads writes no batch beyond the one that was asked for', async () => {
    const { sent, reader, written } = await begin('still', 20)
    await otherWork()
    expect([sent.lines, await written()]).toEqual([0, 0])
    expect(rowsOf((await reader.read()).value)).toHaveLength(BATCH)
    await otherWork()
    expect([sent.lines, await written()]).toEqual([BATCH, BATCH])
    await reader.cancel()
  })

  it('of twenty at once writes no more, either', async () => {
    const all = await Promise.all(Array.from({ length: 20 }, (_, n) => begin(`many${n}x`, 10)))
    await otherWork()
    expect(all.map(({ sent }) => sent.lines)).toEqual(Array(20).fill(0))
    await Promise.all(all.map(({ reader }) => reader.cancel()))
  })

  it('that is read to its end slowly is whole', async () => {
    const { reader } = await begin('slow', 3)
    const rows = []
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      rows.push(...rowsOf(part.value))
      await call(AT, '/api/v1/auth/me', { token })
    }
    expect(rows).toHaveLength(3 * BATCH + 1)
    expect(rows.at(-1)).toMatchObject({ summary: true, lines: 600, created: 600, complete: true })
  })

  it('whose caller leaves is recorded with what was imported until then', async () => {
    const { reader, written, settled, trace_id } = await begin('gone', 20)
    await reader.read()
    const reading = reader.read().catch(() => null)
    await reader.cancel()
    await reading
    await settled()
    const created = await written()
    expect([BATCH, 2 * BATCH]).toContain(created)
    const rows = await realm.asOwner(
      sql`select d.after from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id
          where l.trace_id = ${trace_id} and l.activity_type = 'USERS_IMPORTED'`,
    )
    expect(rows.map(({ after }) => after)).toEqual(Array(created / BATCH).fill({ lines: BATCH, created: BATCH, failed: 0 }))
  })
})
