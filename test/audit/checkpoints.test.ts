/** Checkpoints over HTTP. Threat: an administrator must believe the database about what it kept; somebody in a team learns of all. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { call, operatorToken } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { type Cast, castOf } from './people.ts'

const AT = 'checkpointed'
const PATH = '/api/v1/audit/checkpoints'
let cast: Cast

beforeAll(async () => {
  cast = await castOf(AT)
  // What requests wrote may be under checkpoints already.
  await cast.database.asOwner(
    sql`select access.record('SAMPLE_TAKEN', 'take', 'sample', null, null, null) from generate_series(1, 20)`,
  )
  for (let i = 0; i < 100; i++) {
    await cast.database.asOwner(sql`select access.checkpoint_audit(5)`)
    if (!(await cast.database.asOwner(sql`select 1 from freehold.audit_log where checkpoint is null limit 1`)).length) break
  }
})

const get = (query = '', token = cast.tokens.bo) => call(AT, `${PATH}${query}`, { token })

describe('the checkpoints', () => {
  it('are what the database holds, newest first, in one round trip', async () => {
    const { status, trips, body } = await get('?limit=100')
    expect([status, trips]).toEqual([200, 1])
    const rows = await cast.database.asOwner(
      sql`select no, entries, oldest_xid::float8 as oldest_xid, next_xid::float8 as next_xid, encode(hash, 'hex') as hash from freehold.audit_checkpoints order by no desc limit 100`,
    )
    expect(rows.length).toBeGreaterThan(2)
    expect(body.data.map(({ created_at, ...row }: any) => row)).toEqual(rows)
    for (const { created_at } of body.data) expect(created_at).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/)
  })

  it('in pages are complete, each once', async () => {
    const seen: number[] = []
    for (let cursor = ''; ; ) {
      const { body } = await get(`?limit=2${cursor && `&cursor=${encodeURIComponent(cursor)}`}`)
      seen.push(...body.data.map(({ no }: any) => no))
      cursor = body.next_cursor
      if (!cursor) break
    }
    const newest = seen[0] ?? 0
    expect(seen).toEqual(Array.from({ length: newest }, (_, i) => newest - i))
    const { body } = await call(AT, '/api/v1/activities?limit=1', { token: cast.tokens.bo })
    expectProblem(await get(`?cursor=${encodeURIComponent(body.next_cursor)}`), 400, 'invalid_cursor')
  })

  it('are for who reads all of the audit', async () => {
    for (const token of [cast.tokens.dee, cast.tokens.eve, cast.tokens.cy]) expectProblem(await get('', token), 403, 'forbidden')
    expectProblem(await call(AT, PATH), 401, 'token_missing')
    const spanish = await call(AT, PATH, { token: cast.tokens.dee, headers: { 'Accept-Language': 'es' } })
    expect(spanish.body.detail).toMatch(/alcance all/)
  })

  it('of the platform are for its operators, beside its activities', async () => {
    const { status, body } = await call('', '/platform/v1/audit/checkpoints?limit=1', { token: await operatorToken() })
    expect([status, Object.keys(body)]).toEqual([200, ['data', 'next_cursor']])
  })
})
