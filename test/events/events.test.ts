/**
 * The audit as a feed. Threat: an event is missing or comes twice and the receiver cannot tell; one is there whose transaction can still
 * be overtaken; somebody reads what all did without the permission for it; reading fills the feed.
 */
import { createHash } from 'node:crypto'
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Cast, castOf } from '../audit/people.ts'
import { knock } from '../support/knock.ts'
import { call } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

const AT = 'eventful'
const PATH = '/api/v1/events'
let cast: Cast

beforeAll(async () => {
  cast = await castOf(AT)
  await copyTenant('eventful-too')
})

const get = (query = '', token = cast.tokens.bo) => call(AT, `${PATH}${query}`, { token })
const numbered = async () => {
  for (let i = 0; i < 50; i++) {
    await cast.database.asOwner(sql`select access.checkpoint_audit(7)`)
    if (!(await cast.database.asOwner(sql`select 1 from freehold.audit_log where checkpoint is null limit 1`)).length) return
    await new Promise((done) => setTimeout(done, 100))
  }
  throw new Error('Entries stay without a checkpoint.')
}
/** All events, page by page. */
async function all(query = '&limit=100', from = 0): Promise<any[]> {
  const events: any[] = []
  for (let after = from; ; ) {
    const { status, trips, body } = await get(`?after=${after}${query}`)
    expect([status, trips], JSON.stringify(body)).toEqual([200, 1])
    if (!body.data.length) return events
    events.push(...body.data)
    expect(body.next_after).toBe(body.data.at(-1).seq)
    after = body.next_after
  }
}
const addUnit = async (name: string) => {
  const { status, body } = await call(AT, '/api/v1/units', { token: cast.tokens.bo, body: { kind: 'team', name } })
  expect(status).toBe(201)
  return body.id as string
}

describe('events', () => {
  it('are every entry of the audit, each once, in the order of the chain and without a gap', async () => {
    await numbered()
    const events = await all()
    const rows = await cast.database.asOwner(
      sql`select id from freehold.audit_log where checkpoint is not null order by checkpoint, xid, id`,
    )
    expect(rows.length).toBeGreaterThan(20)
    expect(events.map(({ id }) => id)).toEqual(rows.map(({ id }) => id))
    expect(events.map(({ seq }) => seq)).toEqual(rows.map((_, i) => i + 1))
    expect(new Set(events.map(({ epoch }) => epoch))).toEqual(new Set([1]))
    expect(await all('&limit=3')).toEqual(events)
  })

  it('that somebody reads add none', async () => {
    await numbered()
    const before = await all()
    await all('&include=details')
    await numbered()
    expect(await all()).toEqual(before)
  })

  it('hash to their checkpoints, and each of these follows from the one before', async () => {
    await numbered()
    const events = await all()
    const micros = (at: string) => BigInt(Date.parse(`${at.slice(0, 19)}Z`)) * 1000n + BigInt(at.slice(20, 26))
    const text = (value: unknown) => (typeof value === 'bigint' ? String(value) : JSON.stringify(value ?? null))
    const array = (...values: unknown[]) => Buffer.from(`[${values.map(text).join(', ')}]`)
    let previous: string | null = null
    for (let i = 0; i < events.length; ) {
      const { checkpoint: c } = events[i]
      const under = events.slice(i, i + c.entries)
      for (const event of under) expect(event.checkpoint).toEqual(c)
      const hash = createHash('sha256')
        .update(Buffer.from(c.previous_hash ?? '', 'hex'))
        .update(array(c.no, c.entries, c.oldest_xid, c.next_xid, micros(c.created_at)))
      for (const e of under)
        hash.update(
          array(
            e.xid,
            e.id,
            e.user_id,
            e.activity_type,
            e.action,
            e.resource_type,
            e.resource_id,
            e.risk_score,
            e.trace_id,
            micros(e.at),
            e.detail_hash,
          ),
        )
      expect([c.previous_hash, c.hash]).toEqual([previous, Buffer.from(hash.digest()).toString('hex')])
      previous = c.hash
      i += c.entries
    }
  })

  it('of a committed request are there within 5 s, without the scheduled job', async () => {
    await addUnit('Before the clock')
    const [from] = (await all()).slice(-1)
    const id = await addUnit('In no time')
    const until = Date.now() + 5_000
    let found: any
    while (!found && Date.now() < until) {
      found = (await all('&limit=100', from.seq - 1)).find(({ resource_id }) => resource_id === id)
      await new Promise((done) => setTimeout(done, 100))
    }
    expect(found).toMatchObject({ v: 1, type: 'unit.created', activity_type: 'UNIT_CREATED' })
    expect(found).not.toHaveProperty('details')
  })

  it('say who did what from where when asked to, and that details were erased', async () => {
    const id = await addUnit('With details')
    await numbered()
    const find = async () => (await all('&limit=100&include=details')).find(({ resource_id }) => resource_id === id)
    const event = await find()
    expect(event.details).toMatchObject({ user_name: 'bo', method: 'POST', path: '/api/v1/units', before: null })
    expect(event.details.after).toMatchObject({ name: 'With details' })
    await cast.database.asOwner(sql`select access.erase_detail(array[${event.id}::uuid])`)
    expect((await find()).details).toBeNull()
  })

  it('with large details come a mebibyte a page at most, and none is left out', async () => {
    await numbered()
    const from = (await all()).at(-1).seq
    const large = JSON.stringify({ text: 'x'.repeat(120_000) })
    await cast.database.asOwner(
      sql`select access.record('DOCUMENTS_COUNTED', 'work', 'large', i::text, ${large}::jsonb, ${large}::jsonb) from generate_series(1, 30) i`,
    )
    await numbered()
    const sizes: number[] = []
    const seen: string[] = []
    for (let after = from; seen.length < 30; ) {
      const { body } = await get(`?after=${after}&limit=100&include=details`)
      expect(body.data.length).toBeGreaterThan(0)
      sizes.push(JSON.stringify(body).length)
      seen.push(...body.data.filter((e: any) => e.resource_type === 'large').map((e: any) => e.resource_id))
      after = body.next_after
    }
    // Of one transaction they come in the order of their ids.
    expect(seen.map(Number).sort((a, b) => a - b)).toEqual(Array.from({ length: 30 }, (_, i) => i + 1))
    expect(Math.max(...sizes)).toBeLessThan(1_100_000)
    expect(sizes.length).toBeLessThan(12)
  })

  it('of a transaction that still runs hold back what came after it, so that none is passed over', async () => {
    await numbered()
    const after = (await all()).at(-1).seq
    // A long transaction of the owner's, on a connection of its own: its entry is older than the unit's.
    const slow = cast.realm.asOwner(
      sql`select access.record('SLOW_WORK', 'work', 'sample', '1', null, null)`,
      sql`select pg_sleep(3)`,
    )
    await new Promise((done) => setTimeout(done, 700))
    const id = await addUnit('After the slow one')
    await cast.database.asOwner(sql`select access.checkpoint_audit(100)`)
    expect((await all('&limit=100', after)).map(({ resource_id }) => resource_id)).not.toContain(id)
    await slow
    await numbered()
    const seen = (await all('&limit=100', after)).map(({ type, resource_id }) => [type, resource_id])
    expect(seen.findIndex(([type]) => type === 'custom.slow_work')).toBeGreaterThanOrEqual(0)
    expect(seen.findIndex(([type]) => type === 'custom.slow_work')).toBeLessThan(seen.findIndex(([, of]) => of === id))
  })

  it('after a cut of the chain begin another epoch, above all numbers of what was cut off', async () => {
    await numbered()
    const [last] = (await all()).slice(-1)
    // As a restore makes it (src/tenants/restore/settle.ts): the checkpoints between were those of the branch that was left.
    await cast.database.asOwner(
      sql`insert into freehold.audit_checkpoints (no, entries, oldest_xid, next_xid, hash, created_at)
          select s.no + 3, 0, s.oldest_xid, s.next_xid, sha256(s.hash), clock_timestamp() from freehold.audit_checkpoints s order by no desc limit 1`,
    )
    await addUnit('After the cut')
    await numbered()
    const rest = await all('&limit=100', last.seq)
    expect(rest[0]).toMatchObject({ seq: last.seq + 2 * 5_000 + 1, epoch: last.epoch + 1 })
    expect(rest.map(({ seq }) => seq)).toEqual(rest.map((_, i) => rest[0].seq + i))
    // Whoever had read on in the branch that was left, too.
    expect((await all('&limit=100', last.seq + 9_000)).map(({ id }) => id)).toEqual(rest.map(({ id }) => id))
  })
})

describe('a page of events', () => {
  it('after a number that no event has yet is empty', async () => {
    const { status, body } = await get('?after=9007199254740991')
    expect([status, body]).toEqual([200, { data: [], next_after: 9007199254740991 }])
  })

  it('is refused after what is no number, and with what it does not know', async () => {
    for (const query of [
      'after=-1',
      'after=x',
      'after=1.5',
      'after=1e3',
      'after=',
      'after=9007199254740992',
      `after=${'9'.repeat(30)}`,
    ])
      expectProblem(await get(`?${query}`), 400, 'invalid_request')
    for (const query of ['limit=0', 'limit=101', 'include=everything', 'before=3', 'after=1&after=2'])
      expectProblem(await get(`?${query}`), 400, 'invalid_request')
  })

  it('is for who may export all of the audit', async () => {
    for (const token of [cast.tokens.dee, cast.tokens.eve, cast.tokens.cy]) expectProblem(await get('', token), 403, 'forbidden')
    expectProblem(await call(AT, PATH), 401, 'token_missing')
    expectProblem(await call(AT, PATH, { token: await tokenOf('eventful-too') }), 401, 'token_wrong_tenant')
    const spanish = await call(AT, PATH, { token: cast.tokens.dee, headers: { 'Accept-Language': 'es' } })
    expect(spanish.body.detail).toMatch(/alcance all/)
  })

  it('is not on the plane of the platform', async () => {
    expect((await knock('http://freehold.test/platform/v1/events')).status).toBe(404)
  })
})

describe('types of events', () => {
  it('are custom of what a service records, whatever words it chooses', async () => {
    for (const [activity_type, resource_type, action, status] of [
      ['LOGIN_SUCCEEDED', 'login', 'succeede', 201],
      ['SESSION_ENDED', 'session', 'ende', 201],
      ['PASSWORD_CHANGED', 'password', 'change', 201],
      ['REPORT_CREATED', 'report', 'create', 201],
      ['TENANT_RESTORED', 'tenant', 'restore', 400],
      ['ROLE_UPDATED', 'role', 'update', 400],
    ] as const) {
      const made = await call(AT, '/api/v1/activities', { token: cast.tokens.bo, body: { activity_type, resource_type, action } })
      expect([activity_type, made.status]).toEqual([activity_type, status])
      if (status !== 201) continue
      const [row] = await cast.database.asOwner(
        sql`select access.event_type(l.activity_type, l.resource_type, l.action) as type from freehold.audit_log l where l.id = ${made.body.id}`,
      )
      expect(row?.type).toBe(`custom.${activity_type.toLowerCase()}`)
    }
  })

  it('name a change of each table that the audit watches after its rows', async () => {
    const rows = await cast.database.asOwner(
      sql`select distinct split_part(encode(t.tgargs, 'escape'), chr(92) || '000', 1) as resource from pg_trigger t
          join pg_class c on c.oid = t.tgrelid where t.tgfoid = 'access.audit()'::regprocedure and c.relnamespace = 'freehold'::regnamespace`,
    )
    expect(rows.length).toBeGreaterThan(20)
    for (const { resource } of rows) {
      const [row] = await cast.database.asOwner(
        sql`select access.event_type(upper(${resource}::text) || '_CREATED', ${resource}::text, 'create') as type, access.is_built_in_activity(upper(${resource}::text) || '_CREATED') as is_ours`,
      )
      expect(row).toEqual({ type: `${resource}.created`, is_ours: true })
    }
  })

  it('name every activity that Freehold records: none of them is a custom one', async () => {
    const rows = await cast.database.asOwner(
      sql`select distinct l.activity_type as activity, access.event_type(l.activity_type, l.resource_type, l.action) as type
          from freehold.audit_log l where l.activity_type not in ('SLOW_WORK', 'LOGIN_SUCCEEDED', 'SESSION_ENDED', 'PASSWORD_CHANGED', 'REPORT_CREATED')`,
    )
    for (const { activity, type } of rows)
      expect([activity, type]).toEqual([activity, expect.stringMatching(/^(?!custom\.)[a-z_]+\.[a-z_]+$/)])
  })
})
