/** The audit over HTTP. Threat: somebody reads what lies outside their scope, or another tenant's; a service signs as Freehold. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Search, selectActivities } from '../../src/audit/audit.ts'
import { call } from '../support/people.ts'
import { expectProblem, pointers } from '../support/refusal.ts'
import { admit, credentialOf, tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { type Cast, castOf, every } from './people.ts'

const AT = 'activities'
const PATH = '/api/v1/activities'
let cast: Cast
let mallory: string

beforeAll(async () => {
  cast = await castOf(AT)
  await copyTenant(`${AT}-other`)
  mallory = await tokenOf(`${AT}-other`)
})

const get = (query: string, token = cast.tokens.bo) => call(AT, `${PATH}${query}`, { token })
const post = (body: unknown, token = cast.tokens.bo) => call(AT, PATH, { token, body })
const SIGNED = { activity_type: 'CONTRACT_SIGNED', action: 'sign', resource_type: 'contract', resource_id: 'c-1' }

describe('the list', () => {
  it('shows what was done, newest first, in one round trip', async () => {
    const answer = await get('?limit=100')
    expect([answer.status, answer.trips]).toEqual([200, 1])
    const { data } = answer.body
    // The scheduled job, which other files start, may have told the tenant its version since: nobody did that.
    expect(data.find(({ user_name }: any) => user_name !== null)).toMatchObject({
      activity_type: 'LOGIN',
      action: 'create',
      resource_type: 'session',
      user_name: 'eve',
      method: 'POST',
      path: '/api/v1/auth/login',
    })
    expect(Object.keys(data[0])).toEqual(
      'id at user_id user_name activity_type action resource_type resource_id risk_score trace_id address agent method path before after api_key_id impersonator_id'.split(
        ' ',
      ),
    )
    const order = data.map(({ at, id }: any) => `${at} ${id}`)
    expect(order).toEqual([...order].sort().reverse())
    expect(data[0].at).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/)
  })

  it('in pages is complete, each entry once', async () => {
    const seen: string[] = []
    for (let cursor = ''; ; ) {
      const { body } = await get(`?limit=7${cursor && `&cursor=${encodeURIComponent(cursor)}`}`)
      seen.push(...body.data.map(({ id }: any) => id))
      cursor = body.next_cursor
      if (!cursor) break
    }
    const [row] = await cast.database.asOwner(sql`select count(*)::integer as n from freehold.audit_log`)
    expect([seen.length, new Set(seen).size]).toEqual([row?.n, row?.n])
  })

  it('goes on after a cursor with the same search', async () => {
    const trace_id = crypto.randomUUID().replaceAll('-', '')
    for (let n = 0; n < 5; n++)
      await cast.database.asOwner(
        sql`select access.write_audit(jsonb_build_object('trace_id', ${trace_id}::text), 'TRACED', ${n === 2 ? 'end' : 'begin'}, 'thing', 0, array[${String(n)}], null, null)`,
      )
    const seen: string[] = []
    for (let cursor = ''; ; ) {
      const { body } = await get(`?limit=1&trace_id=${trace_id}&action=begin${cursor && `&cursor=${encodeURIComponent(cursor)}`}`)
      seen.push(...body.data.map(({ resource_id }: any) => resource_id))
      cursor = body.next_cursor
      if (!cursor) break
    }
    expect(seen).toEqual(['4', '3', '1', '0'])
  })

  it.each(['cursor=x', 'cursor=', 'cursor=WyJhIl0.xxxxxxxxxxxxxxxxxxxxxx'])('refuses the cursor %s', async (query) =>
    expectProblem(await get(`?${query}`), 400, 'invalid_cursor'),
  )

  it('at scope team is of the people of the team, at scope own of oneself, and without the permission nobody’s', async () => {
    const names = async (token: string) => new Set((await every(AT, PATH, token)).map(({ user_name }) => user_name))
    expect(await names(cast.tokens.dee)).toEqual(new Set(['cy', 'dee']))
    expect(await names(cast.tokens.eve)).toEqual(new Set(['eve']))
    expect(await names(cast.tokens.bo)).toEqual(new Set([null, 'bo', 'cy', 'dee', 'eve']))
    expectProblem(await get('', cast.tokens.cy), 403, 'forbidden')
  })

  it('is searched by person, type, action, resource, trace, time, address and risk', async () => {
    const agent = { 'CF-Connecting-IP': '203.0.113.77' }
    await call(AT, '/api/v1/auth/login', { body: { username: 'cy', password: 'not it at all' }, headers: agent })
    const all = await every(AT, PATH, cast.tokens.bo)
    const failed = all.find(({ activity_type }) => activity_type === 'LOGIN_FAILED')
    const middle = all[Math.floor(all.length / 2)]
    const found = async (query: string) => (await every(AT, `${PATH}?${query}`, cast.tokens.bo)).map(({ id }) => id).sort()
    const those = (which: (activity: any) => boolean) =>
      all
        .filter(which)
        .map(({ id }) => id)
        .sort()
    expect(await found('address=203.0.113.77')).toEqual([failed.id])
    expect(await found('min_risk=20')).toEqual(those(({ risk_score }) => risk_score >= 20))
    expect(await found(`user_id=${cast.people.cy.id}`)).toEqual(those(({ user_id }) => user_id === cast.people.cy.id))
    expect(await found('activity_type=USER_CREATED')).toEqual(those(({ activity_type }) => activity_type === 'USER_CREATED'))
    expect(await found('action=login')).toEqual(those(({ action }) => action === 'login'))
    expect(await found(`trace_id=${failed.trace_id}`)).toEqual([failed.id])
    expect(await found(`trace_id=${failed.trace_id}&action=create`)).toEqual([])
    expect(await found(`trace_id=${failed.trace_id.slice(0, 31)}`)).toEqual([])
    expect(await found(`resource_type=user&resource_id=${cast.people.eve.id}`)).toEqual(
      those(({ resource_type, resource_id }) => resource_type === 'user' && resource_id === cast.people.eve.id),
    )
    expect(await found(`to=${middle.at}`)).toEqual(those(({ at }) => at < middle.at))
    expect(await found(`from=${middle.at}&to=${failed.at}`)).toEqual(those(({ at }) => at >= middle.at && at < failed.at))
    expect(await found(`from=${encodeURIComponent('2020-01-01T00:00:00+05:00')}&activity_type=LOGIN_FAILED`)).toEqual([failed.id])
    expect(await found('activity_type=NO_SUCH')).toEqual([])
  })

  it.each([
    ['from=2026-02-02T00:00:00Z&to=2026-02-01T00:00:00Z', '#/query/from'],
    ['from=yesterday', '#/query/from'],
    ['from=0000-01-01T00:00:00Z', '#/query/from'],
    ['to=2026-02-30T00:00:00Z', '#/query/to'],
    ['user_id=cy', '#/query/user_id'],
    ['min_risk=101', '#/query/min_risk'],
    ['activity_type=%00', '#/query/activity_type'],
    ['resource_id=%0a', '#/query/resource_id'],
    ['address=', '#/query/address'],
    ['trace_id=', '#/query/trace_id'],
    [`trace_id=${'a'.repeat(65)}`, '#/query/trace_id'],
    ['action=%00', '#/query/action'],
    ['surprise=1', '#/query/surprise'],
  ])('refuses %s and points at it', async (query, pointer) => {
    for (const path of ['?', '/export?format=csv&']) {
      const answer = await get(`${path}${query}`)
      expectProblem(answer, 400, 'invalid_request')
      expect(pointers(answer)).toContain(pointer)
    }
  })

  it('walks its indexes under row level security, in a log of 20,000', async () => {
    await cast.database.asOwner(
      sql`select access.write_audit(jsonb_build_object('address', '192.0.2.' || g % 50, 'user_id', gen_random_uuid()), 'SHIFT_' || g % 50, 'begin', 'shift', 0, array_agg('s-' || g || '-' || n), null, null)
          from generate_series(1, 200) g, generate_series(1, 100) n group by g`,
    )
    const pending = async () =>
      (await cast.database.asOwner(sql`select 1 from freehold.audit_log where checkpoint is null limit 1`)).length
    // What others in the cluster have open keeps it from being sealed for a moment.
    for (let i = 0; i < 100 && (await pending()); i++) {
      await cast.database.asOwner(sql`select access.checkpoint_audit(100000)`)
      await scheduler.wait(100)
    }
    await cast.database.asOwner(sql`analyze freehold.audit_log, freehold.audit_detail`)
    const bo = await credentialOf(AT)
    const plan = async (search: Search) =>
      JSON.stringify(
        await cast.database.asApp(admit(cast.database, bo, 'activity:read'), sql`explain ${selectActivities(search, null, 51)}`),
      )
    expect(await plan({})).toMatch(/Index Scan Backward using audit_log_at/)
    expect(await plan({ user_id: bo.user_id })).toMatch(/Index Cond: \(user_id =/)
    expect(await plan({ activity_type: 'SHIFT_7' })).toMatch(/Index Cond: \(activity_type =/)
    expect(await plan({ action: 'export' })).toMatch(/Index Cond: \(action =/)
    expect(await plan({ trace_id: 'a'.repeat(32) })).toMatch(/Index Cond: \(trace_id =/)
    expect(await plan({ resource_type: 'user', resource_id: 'x' })).toMatch(
      /Index Cond: \(\(resource_type = [^)]*\) AND \(resource_id =/,
    )
    expect(await plan({ to: '2020-01-01T00:00:00Z' })).toMatch(/Index Cond: \(at </)
    expect(await plan({ address: '198.51.100.7' })).toMatch(/Index Cond: \(address =/)
    for (const search of [
      {},
      { trace_id: 'x' },
      { action: 'x' },
      { user_id: bo.user_id },
      { activity_type: 'SHIFT_7' },
      { address: '198.51.100.7' },
    ])
      expect(await plan(search)).not.toMatch(/Seq Scan on audit_/)
  })
})

describe('one activity', () => {
  it('is shown as in the list, and to nobody else', async () => {
    const [cys] = await every(AT, `${PATH}?user_id=${cast.people.cy.id}&activity_type=LOGIN`, cast.tokens.bo)
    expect((await get(`/${cys.id}`)).body).toEqual(cys)
    expect((await get(`/${cys.id}`, cast.tokens.dee)).body).toEqual(cys)
    expectProblem(await get(`/${cys.id}`, cast.tokens.eve), 404, 'not_found')
    expectProblem(await get(`/${crypto.randomUUID()}`), 404, 'not_found')
    expectProblem(await call(`${AT}-other`, `${PATH}/${cys.id}`, { token: mallory }), 404, 'not_found')
    expectProblem(await get('/x'), 400, 'invalid_request')
  })
})

describe('a person’s activities', () => {
  const of = (id: string, token = cast.tokens.bo) => call(AT, `/api/v1/users/${id}/activities`, { token })
  it('are theirs alone, for who reaches them', async () => {
    const answer = await of(cast.people.cy.id, cast.tokens.dee)
    expect([answer.status, answer.trips]).toEqual([200, 1])
    expect(new Set(answer.body.data.map(({ user_id }: any) => user_id))).toEqual(new Set([cast.people.cy.id]))
    expectProblem(await of(cast.people.cy.id, cast.tokens.eve), 404, 'not_found')
    expectProblem(await of(crypto.randomUUID()), 404, 'not_found')
    expectProblem(await of(cast.people.cy.id, cast.tokens.cy), 403, 'forbidden')
    const filtered = await call(AT, `/api/v1/users/${cast.people.cy.id}/activities?activity_type=LOGOUT`, {
      token: cast.tokens.bo,
    })
    expect(filtered.body).toEqual({ data: [], next_cursor: null })
  })
})

describe('a service’s own activity', () => {
  it('is recorded as who sent it, from where they are, with what it says', async () => {
    const body = { ...SIGNED, risk_score: 7, before: { state: 'open' }, after: { state: 'signed', by: ['ñ', 1, null] } }
    const answer = await post(body)
    expect([answer.status, answer.trips]).toEqual([201, 1])
    expect(answer.body).toMatchObject({
      ...body,
      user_name: 'bo',
      method: 'POST',
      path: PATH,
      agent: 'cy/1.0',
      trace_id: answer.headers.get('X-Trace-Id'),
    })
    expect(answer.headers.get('Location')).toBe(`${PATH}/${answer.body.id}`)
    expect((await get(`/${answer.body.id}`)).body).toEqual(answer.body)
    expect((await post({ activity_type: 'NIGHT_SHIFT', action: 'begin', resource_type: 'shift' })).body).toMatchObject({
      resource_id: null,
      risk_score: 0,
      before: null,
      after: null,
    })
    expectProblem(await post(SIGNED, cast.tokens.eve), 403, 'forbidden')
  })

  it.each([
    'LOGIN',
    'SUSPICIOUS_ACTIVITY',
    'ACCESS_REFUSED',
    'EXPORT',
    'AUDIT_ERASED',
    'API_KEY_REVOKED',
    'USER_DELETED',
    'DELEGATION_PERMISSION_CREATED',
    'UNIT_UPDATED',
  ])('is not %s, which is Freehold’s', async (activity_type) => {
    const answer = await post({ ...SIGNED, activity_type })
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual(['#/activity_type'])
  })

  it.each<[object, string]>([
    [{ activity_type: 'contract_signed' }, '#/activity_type'],
    [{ activity_type: '_X' }, '#/activity_type'],
    [{ activity_type: 'X'.repeat(65) }, '#/activity_type'],
    [{ risk_score: 101 }, '#/risk_score'],
    [{ action: 'a\u0000' }, '#/action'],
    [{ after: { text: 'a\u0000' } }, '#/after'],
    [{ after: { 'a\u0000': 1 } }, '#/after'],
    [{ before: { text: '\ud800' } }, '#/before/text'],
    [{ before: { deep: JSON.parse('['.repeat(40) + ']'.repeat(40)) } }, '#/before'],
    [{ after: { text: 'x'.repeat(17_000) } }, '#'],
    [{ before: { text: 'ñ'.repeat(4_200) }, after: { text: 'ñ'.repeat(4_200) } }, '#'],
    [{ user_id: crypto.randomUUID() }, '#/user_id'],
    [{ address: '192.0.2.1' }, '#/address'],
  ])('that is not one is refused (%#)', async (more, pointer) => {
    const answer = await post({ ...SIGNED, ...more })
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual([pointer])
  })

  it('cannot be written past the door, by who runs SQL as the app login', async () => {
    const bo = await credentialOf(AT)
    const own = sql`select access.record_custom_activity('CONTRACT_SIGNED', 'sign', 'contract', null, 0, null, null)`
    const refused = (...statements: ReturnType<typeof sql>[]) =>
      cast.database.asApp(...statements).then(
        () => 'done',
        (error) => String(error.cause ?? error),
      )
    expect(await refused(own)).toMatch(/forbidden/)
    expect(await refused(admit(cast.database, bo, 'activity:read'), own)).toMatch(/forbidden/)
    expect(
      await refused(
        admit(cast.database, bo, 'activity:create'),
        sql`select access.record_custom_activity('LOGIN', 'sign', 'contract', null, 0, null, null)`,
      ),
    ).toMatch(/invalid_request/)
    expect(
      await refused(
        admit(cast.database, bo, 'activity:create'),
        sql`insert into freehold.audit_log (id, activity_type, action, resource_type, detail_hash) values (gen_random_uuid(), 'X', 'x', 'x', '')`,
      ),
    ).toMatch(/permission denied/)
    expect(await refused(admit(cast.database, bo, 'activity:read'), sql`select access.erase_detail('{}')`)).toMatch(
      /permission denied/,
    )
    expect(await cast.database.asApp(admit(cast.database, bo, 'user:read'), sql`select id from freehold.audit_log`)).toEqual([])
    expect(await cast.database.asApp(admit(cast.database, bo, 'user:read'), sql`select salt from freehold.audit_detail`)).toEqual(
      [],
    )
    expect(
      await cast.database.asApp(admit(cast.database, bo, 'user:read'), sql`select no from freehold.audit_checkpoints`),
    ).toEqual([])
  })
})
