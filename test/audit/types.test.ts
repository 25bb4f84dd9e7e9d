/** Every type of activity that the seed names and that can happen now, made by its act; and no secret in any of it. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { master } from '../support/databases.ts'
import { forge } from '../support/inside.ts'
import { call } from '../support/people.ts'
import { admit, credentialOf, tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { type Cast, castOf, every } from './people.ts'

const AT = 'typed-acts'
let cast: Cast
let foreign: string

beforeAll(async () => {
  cast = await castOf(AT)
  await copyTenant(`${AT}-too`)
  foreign = await tokenOf(`${AT}-too`)
})

/** The types that an act leaves in the list; waits a little for what is recorded after the answer. */
async function left(act: () => Promise<unknown>, type: string) {
  const [row] = await cast.database.asOwner(
    sql`select to_char(clock_timestamp() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at`,
  )
  await act()
  for (let i = 0; ; i++) {
    const rows = await every(AT, `/api/v1/activities?from=${row?.at}`, cast.tokens.bo)
    if (i === 40 || rows.some(({ activity_type }) => activity_type === type)) return rows
    await scheduler.wait(50)
  }
}
const enter = (password: string, username = 'cy') => call(AT, '/api/v1/auth/login', { body: { username, password } })
const asBo = async (permission: string, ...statements: ReturnType<typeof sql>[]) =>
  cast.database.asApp(admit(cast.database, await credentialOf(AT), permission), ...statements)
const role = (name: string) => sql`(select id from freehold.roles where name = ${name})`

describe('the list shows', () => {
  const acts: [string, () => Promise<unknown>, object][] = [
    ['LOGIN', () => enter(cast.people.cy.password), { user_name: 'cy', action: 'create', resource_type: 'session' }],
    ['LOGIN_FAILED', () => enter('not it at all'), { user_name: 'cy', action: 'login', risk_score: 20 }],
    [
      'LOGOUT',
      async () =>
        call(AT, '/api/v1/auth/logout', { method: 'POST', token: (await enter(cast.people.cy.password)).body.access_token }),
      { user_name: 'cy', resource_type: 'session', before: { ended_at: null, ended_because: null } },
    ],
    [
      'PASSWORD_CHANGE',
      async () => {
        const { password } = cast.people.eve
        const { access_token } = (await enter(password, 'eve')).body
        const body = { current_password: password, new_password: 'Copper-Lantern-77' }
        expect((await call(AT, '/api/v1/auth/password-change', { token: access_token, body })).status).toBe(204)
      },
      { user_name: 'eve', resource_type: 'user', action: 'update' },
    ],
    [
      'PROFILE_UPDATE',
      () =>
        asBo('user:update', sql`update freehold.users set designation = 'harbour master' where id = (select access.principal())`),
      { user_name: 'bo', before: { designation: null }, after: { designation: 'harbour master' } },
    ],
    [
      'USER_UPDATED',
      () => asBo('user:update', sql`update freehold.users set designation = 'pilot' where username = 'dee'`),
      { user_name: 'bo', after: { designation: 'pilot' } },
    ],
    [
      'ROLE_ASSIGNED',
      () =>
        asBo(
          'role:update',
          sql`insert into freehold.user_roles (id, user_id, role_id) values (gen_random_uuid(), ${cast.people.cy.id}, ${role('reader-own')})`,
        ),
      { user_name: 'bo', resource_type: 'user_role', action: 'create' },
    ],
    [
      'ROLE_REMOVED',
      () =>
        asBo(
          'role:update',
          sql`update freehold.user_roles set ends_at = now() where user_id = ${cast.people.cy.id} and role_id = ${role('reader-own')}`,
        ),
      { user_name: 'bo', resource_type: 'user_role', action: 'update' },
    ],
    [
      'PERMISSION_CHANGE',
      () =>
        asBo(
          'role:update',
          sql`insert into freehold.role_permissions (id, role_id, permission, scope) values (gen_random_uuid(), ${role('reader-own')}, 'unit:read', 'own')`,
        ),
      { user_name: 'bo', resource_type: 'role_permission' },
    ],
    [
      'SUSPICIOUS_ACTIVITY',
      () => call(AT, '/api/v1/auth/me', { token: foreign }),
      { user_id: null, risk_score: 50, after: { code: 'token_wrong_tenant', permission: null } },
    ],
    [
      'ACCESS_REFUSED',
      () => call(AT, '/api/v1/activities', { token: cast.tokens.cy }),
      { user_name: 'cy', risk_score: 10, after: { code: 'forbidden', permission: 'activity:read' } },
    ],
  ]
  it.each(acts)('%s', async (type, act, about) => {
    const rows = await left(act, type)
    expect(rows.filter(({ activity_type }) => activity_type === type)).toContainEqual(expect.objectContaining(about))
  })
})

describe('a table without an id', () => {
  it('is recorded under its whole key', async () => {
    const rows = await left(
      () =>
        asBo(
          'delegation:create',
          sql`insert into freehold.delegations (id, delegator_id, delegate_id, starts_at, ends_at) values (gen_random_uuid(), (select access.principal()), ${cast.people.cy.id}, now(), now() + interval '1 day')`,
          sql`insert into freehold.delegation_permissions (delegation_id, permission) select d.id, p from freehold.delegations d, unnest(array['user:read', 'unit:read']) p where d.created_at = now()`,
        ),
      'DELEGATION_PERMISSION_CREATED',
    )
    const made = rows.filter(({ resource_type }) => resource_type === 'delegation_permission')
    const [{ id }] = (await cast.database.asOwner(sql`select id from freehold.delegations`)) as [{ id: string }]
    expect(made.map(({ resource_id }) => resource_id).sort()).toEqual([`${id}/unit:read`, `${id}/user:read`])
    expect(made[0].after).toEqual({ delegation_id: id, permission: made[0].resource_id.split('/')[1] })
  })

  it('and a row whose key itself is changed, are recorded with both halves', async () => {
    const rows = await left(
      () =>
        cast.database.asOwner(
          sql`update freehold.delegation_permissions set permission = 'role:read' where permission = 'unit:read'`,
        ),
      'DELEGATION_PERMISSION_UPDATED',
    )
    const changed = rows.filter(({ activity_type }) => activity_type === 'DELEGATION_PERMISSION_UPDATED')
    expect(changed.find(({ before }) => before)).toMatchObject({ before: { permission: 'unit:read' }, after: null })
    expect(changed.find(({ after }) => after)).toMatchObject({ before: null, after: { permission: 'role:read' } })
    expect(changed).toHaveLength(2)
  })
})

describe('no secret is in the audit', () => {
  const MARKER = 'Zq7-marker-of-a-secret'
  /** Columns that hold secrets, of all tables: of those under audit as their triggers say, and every other that is named like one. */
  const secretColumns = sql`
    select c.oid::regclass::text as table, a.attname as column, format_type(a.atttypid, null) as type, exists (select from pg_trigger t where t.tgrelid = c.oid and t.tgfoid = 'access.audit()'::regprocedure) as audited
    from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    where c.relkind = 'r' and c.relnamespace in (select oid from pg_namespace where nspname in ('freehold', 'platform')) and c.relname !~ '^audit_' and a.attgenerated = ''
      and (a.attname ~ '(_hash|_encrypted|secret|salt|token)$' or a.attname = 'hash_parameters')`

  it.each(['a tenant', 'the master'])('though each secret column of %s was given one', async (where) => {
    const ask = (...statements: ReturnType<typeof sql>[]) =>
      where === 'a tenant' ? cast.database.asOwner(...statements) : master(...statements)
    const columns = await ask(secretColumns)
    const names = columns.map((row) => `${row.table}.${row.column}`)
    expect(names).toEqual(expect.arrayContaining(['freehold.passwords.password_hash', 'freehold.refresh_tokens.token_hash']))
    if (where === 'the master')
      expect(names).toEqual(
        expect.arrayContaining(['platform.tenants.app_url_encrypted', 'platform.signing_keys.private_jwk_encrypted']),
      )
    const written: string[] = []
    for (const { table, column, type, audited } of columns) {
      const value = type === 'bytea' ? `convert_to('${MARKER}' || gen_random_uuid(), 'UTF8')` : `'${MARKER}'`
      // In the master only this tenant's rows, because a change there is news of that tenant.
      const mine: Record<string, string> = {
        'platform.tenants': `t.id = '${cast.database.id}'`,
        'platform.signing_keys': `t.realm_id = '${cast.database.id}'`,
      }
      const which = mine[table] ?? (audited ? 'true' : `t.${column} is not null`)
      const [before] = await ask(sql`select count(*)::integer as n from freehold.audit_log`)
      // Changed and given back in one transaction: the tests beside this one use the same master. Both changes are recorded.
      await ask(
        sql.raw(`do $$ declare kept ${table}.${column}%type; place tid; begin
          select t.ctid, t.${column} into place, kept from ${table} t where ${which} order by t.${column} is null limit 1 for update;
          update ${table} t set ${column} = ${value} where t.ctid = place returning t.ctid into place;
          update ${table} t set ${column} = kept where t.ctid = place;
        end $$`),
      )
      const [after] = await ask(sql`select count(*)::integer as n from freehold.audit_log`)
      if (audited && after?.n > before?.n) written.push(`${table}.${column}`)
    }
    if (where === 'a tenant') expect(written).toContain('freehold.passwords.password_hash')
    else expect(written).toContain('platform.tenants.owner_url_encrypted')
    const [found] = await ask(
      sql`select (select count(*)::integer from freehold.audit_log l where l::text like ${`%${MARKER}%`}) + (select count(*)::integer from freehold.audit_detail d where d::text like ${`%${MARKER}%`} or d::text like '%' || encode(convert_to(${MARKER}, 'UTF8'), 'hex') || '%') as n`,
    )
    expect(found).toEqual({ n: 0 })
    const [masked] = await ask(sql`select count(*)::integer as n from freehold.audit_detail d where d.after::text like '%"***"%'`)
    expect(masked?.n).toBeGreaterThan(0)
  })

  it('nor a password that was typed, nor a token that was sent or given', async () => {
    const password = `${MARKER}-typed`
    await enter(password)
    const { access_token, refresh_token } = (await enter(cast.people.cy.password)).body
    await call(AT, '/api/v1/auth/refresh-token', { body: { refresh_token } })
    await call(AT, '/api/v1/auth/me', { token: await forge(cast.realm, { sub: cast.people.cy.id, sid: crypto.randomUUID() }) })
    const text = JSON.stringify(await every(AT, '/api/v1/activities', cast.tokens.bo))
    for (const secret of [MARKER, access_token, refresh_token, 'pbkdf2']) expect(text).not.toContain(secret)
  })
})

it('every type that Freehold records itself is one that no service may record', async () => {
  const types = await master(
    sql`select distinct m.found[1] as type from pg_proc p cross join lateral regexp_matches(p.prosrc, 'access\\.record\\(\\s*''([A-Z_]+)''', 'g') as m (found)
      where p.pronamespace = 'access'::regnamespace`,
  )
  expect(types.length).toBeGreaterThan(10)
  const forgeable = []
  for (const { type } of types)
    if (!(await master(sql`select access.is_built_in_activity(${type}) as own`))[0]?.own) forgeable.push(type)
  expect(forgeable).toEqual([])
})
