/** What changed is recorded, before and after and without secrets, or it did not happen. */
import { type SQL, sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Database, databaseOf, type Rows } from '../support/databases.ts'
import { call } from '../support/people.ts'
import { admit, type Credential, credentialOf, FACTS, plantSession } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

let tenant: Database
let bo: Credential
const ids: Record<string, string> = {}

beforeAll(async () => {
  await copyTenant('recorded-rows')
  tenant = await databaseOf('recorded-rows')
  bo = await credentialOf('recorded-rows')
  for (const name of ['ana', 'bea', 'cleo']) {
    const [row] = await tenant.asOwner(
      sql`insert into freehold.users (id, username, email, role) values (gen_random_uuid(), ${name}, ${`${name}@acme.test`}, 'user') returning id`,
    )
    ids[name] = row?.id
  }
})

/** The entries that a statement list of the owner writes. */
async function written(...statements: SQL[]): Promise<Rows> {
  const [mark] = await tenant.asOwner(sql`select clock_timestamp()::text as at`)
  await tenant.asOwner(...statements)
  return since(mark?.at)
}
const since = (at: string) =>
  tenant.asOwner(
    sql`select l.user_id, l.activity_type, l.action, l.resource_type, l.resource_id, l.risk_score, l.trace_id, d.user_name, d.address, d.agent, d.method, d.path, d.before, d.after
        from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id where l.at >= ${at}::timestamptz order by l.at, l.resource_id`,
  )
const user = (name: string, changes: string) => sql.raw(`update freehold.users set ${changes} where username = '${name}'`)

describe('a change of a person', () => {
  it('is one entry, with only what changed, before and after', async () => {
    const entries = await written(user('ana', "given_name = 'Ana', locale = 'es', updated_at = now()"))
    expect(entries).toEqual([
      {
        user_id: null,
        activity_type: 'USER_UPDATED',
        action: 'update',
        resource_type: 'user',
        resource_id: ids.ana,
        risk_score: 0,
        trace_id: null,
        user_name: null,
        address: null,
        agent: null,
        method: null,
        path: null,
        before: { given_name: null, locale: 'en' },
        after: { given_name: 'Ana', locale: 'es' },
      },
    ])
  })

  it('that changes nothing is no entry', async () => {
    expect(await written(user('ana', "given_name = 'Ana'"))).toEqual([])
    expect(await written(user('ana', 'updated_at = now()'))).toEqual([])
    expect(await written(user('nobody', "given_name = 'N'"))).toEqual([])
  })

  it('of many at once is an entry for each that changed', async () => {
    const entries = await written(sql`update freehold.users set given_name = 'Ana' where username in ('ana', 'bea', 'cleo')`)
    expect(entries.map(({ resource_id, before, after }) => [resource_id, before, after]).sort()).toEqual(
      ['bea', 'cleo'].map((name) => [ids[name], { given_name: null }, { given_name: 'Ana' }]).sort(),
    )
  })

  it('twice in one transaction is two entries, each with its own before', async () => {
    const entries = await written(user('bea', "given_name = 'Bea'"), user('bea', "given_name = 'Beatriz'"))
    expect(entries.map(({ after }) => after.given_name).sort()).toEqual(['Bea', 'Beatriz'])
    expect(entries.find(({ after }) => after.given_name === 'Beatriz')?.before).toEqual({ given_name: 'Bea' })
  })

  it('that exchanges two is recorded for whom it is', async () => {
    const entries = await written(
      sql`update freehold.users set given_name = case username when 'ana' then 'Bea' else 'Ana' end where username in ('ana', 'cleo') and given_name is not null`,
    )
    expect(entries.map(({ resource_id, after }) => [resource_id, after])).toEqual([[ids.ana, { given_name: 'Bea' }]])
  })

  it('that is rolled back left no entry', async () => {
    const [{ n: before }] = (await tenant.asOwner(sql`select count(*)::integer as n from freehold.audit_log`)) as [{ n: number }]
    await tenant.asOwner(user('ana', "given_name = 'Lost'"), sql`select 1 / 0`).catch(() => undefined)
    expect(await tenant.asOwner(sql`select count(*)::integer as n from freehold.audit_log`)).toEqual([{ n: before }])
  })

  it('begins and ends with the whole person', async () => {
    const [made] = await written(
      sql`insert into freehold.users (id, username, email) values (gen_random_uuid(), 'dan', 'dan@acme.test')`,
    )
    expect(made).toMatchObject({
      activity_type: 'USER_CREATED',
      action: 'create',
      before: null,
      after: { username: 'dan', email: 'dan@acme.test', is_active: true },
    })
    const [gone] = await written(
      sql`delete from freehold.user_periods where user_id = (select id from freehold.users where username = 'dan')`,
      sql`delete from freehold.users where username = 'dan'`,
    )
    expect(gone).toMatchObject({
      activity_type: 'USER_DELETED',
      action: 'delete',
      resource_id: made?.resource_id,
      before: { username: 'dan' },
      after: null,
    })
  })
})

describe('an entry', () => {
  it('has who asked, from where, by what and under which trace, from the admission', async () => {
    const [mark] = await tenant.asOwner(sql`select clock_timestamp()::text as at`)
    const end = sql`update freehold.sessions set ended_at = now(), ended_because = 'logout' where id = (select access.session())`
    const extra = await credentialOf('recorded-rows')
    await tenant.asApp(
      admit(tenant, extra, null, { ...FACTS, address: '2001:db8::7', path: '/api/v1/auth/logout', method: 'POST' }),
      end,
    )
    expect((await since(mark?.at)).filter(({ action }) => action === 'update')).toEqual([
      expect.objectContaining({
        user_id: bo.user_id,
        user_name: 'bo',
        activity_type: 'LOGOUT',
        resource_type: 'session',
        resource_id: extra.session_id,
        address: '2001:db8::7',
        agent: 'cy/1.0',
        method: 'POST',
        path: '/api/v1/auth/logout',
        trace_id: FACTS.trace_id,
        after: expect.objectContaining({ ended_because: 'logout' }),
      }),
    ])
  })

  it('of a request has the trace id that the answer had', async () => {
    const answer = await call('recorded-rows', '/api/v1/auth/login', { body: { username: 'bo', password: 'not it at all' } })
    const rows = await tenant.asOwner(
      sql`select activity_type, risk_score from freehold.audit_log where trace_id = ${answer.headers.get('X-Trace-Id')}`,
    )
    expect(rows).toEqual([{ activity_type: 'LOGIN_FAILED', risk_score: 20 }])
  })

  it('is sealed by the hash of its salt and detail', async () => {
    const rows = await tenant.asOwner(
      sql`select encode(l.detail_hash, 'hex') as hash, encode(d.salt, 'hex') as salt, jsonb_build_object('user_name', d.user_name, 'address', d.address, 'agent', d.agent,
            'method', d.method, 'path', d.path, 'before', d.before, 'after', d.after)::text as detail from freehold.audit_log l left join freehold.audit_detail d on d.log_id = l.id`,
    )
    expect(rows.length).toBeGreaterThan(10)
    for (const { hash, salt, detail } of rows) {
      const text = new TextEncoder().encode(detail)
      const grain = Uint8Array.from(salt.match(/../g), (pair: string) => Number.parseInt(pair, 16))
      const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', Uint8Array.of(...grain, ...text)))
      expect([...digest].map((b) => b.toString(16).padStart(2, '0')).join(''), detail).toBe(hash)
    }
    expect(new Set(rows.map(({ salt }) => salt)).size).toBe(rows.length)
  })

  it('never holds a password, its hash, a token or a salt of one', async () => {
    const session = await plantSession('recorded-rows')
    await call('recorded-rows', '/api/v1/auth/refresh-token', { body: { refresh_token: session.refresh_token } })
    const body = { current_password: 'Tr0ub4dor-and-3', new_password: 'Violet-Anchor-38' }
    expect((await call('recorded-rows', '/api/v1/auth/password-change', { token: session.access_token, body })).status).toBe(204)
    const text =
      JSON.stringify(await tenant.asOwner(sql`select * from freehold.audit_detail`)) +
      JSON.stringify(await tenant.asOwner(sql`select * from freehold.audit_log`))
    expect(text).toContain('"password_hash":"***"')
    expect(text).not.toMatch(/pbkdf2|Violet|Tr0ub|token_hash|successor/)
    expect(text).not.toContain(session.refresh_token)
  })

  it.each([
    ['a role', sql`insert into freehold.roles (id, name) values (gen_random_uuid(), 'night')`, 'ROLE_CREATED'],
    [
      'a permission',
      sql`insert into freehold.permissions (id, name) values (gen_random_uuid(), 'moon:land')`,
      'PERMISSION_CHANGE',
    ],
    [
      'what a role carries',
      sql`insert into freehold.role_permissions (id, role_id, permission, scope) select gen_random_uuid(), id, 'moon:land', 'own' from freehold.roles where name = 'night'`,
      'PERMISSION_CHANGE',
    ],
    [
      'who holds a role',
      sql`insert into freehold.user_roles (id, user_id, role_id) select gen_random_uuid(), u.id, r.id from freehold.users u, freehold.roles r where u.username = 'ana' and r.name = 'night'`,
      'ROLE_ASSIGNED',
    ],
    [
      'who held a role',
      sql`update freehold.user_roles set ends_at = now() + interval '1 second' where role_id = (select id from freehold.roles where name = 'night')`,
      'ROLE_REMOVED',
    ],
    ['the tenant', sql`update freehold.tenant set idle_days = 6`, 'TENANT_UPDATED'],
  ])('is made of %s', async (_, statement, activity) => {
    expect((await written(statement)).map(({ activity_type }) => activity_type)).toEqual([activity])
  })

  it('is made of every table that people or rights are in', async () => {
    const rows = await tenant.asOwner(
      sql`select c.relname as name, count(*)::integer as n from pg_trigger t join pg_class c on c.oid = t.tgrelid where t.tgfoid = 'access.audit()'::regprocedure group by 1 order by 1`,
    )
    expect(rows.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['permissions', 'role_permissions', 'roles', 'sessions', 'tenant', 'user_roles', 'users']),
    )
    expect(rows.every(({ n }) => n === 3)).toBe(true)
  })
})
