/** Threat: the app login, in the hands of whoever runs SQL as it, reaches further than its own tenant's rows. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { atDatabase, type Database, databaseOf, refusalOf, settings } from '../support/databases.ts'
import { makeTenant } from '../support/people.ts'
import { admit, type Credential, credentialOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { leaveRows, readable } from './rows.ts'

let mine: Database
let other: Database
let session: Credential

/** The admission of bo, who administers this tenant. */
const admitBo = () => admit(mine, session, 'user:read')

beforeAll(async () => {
  await copyTenant('confined')
  await copyTenant('confined-other')
  mine = await databaseOf('confined')
  other = await databaseOf('confined-other')
  await leaveRows(mine)
  session = await credentialOf('confined')
})

const HIDDEN = [
  'freehold.refresh_tokens',
  'freehold.login_attempts',
  'freehold.risk_attempts',
  'freehold.lockouts',
  'freehold.passwords',
  'freehold.migrations',
  'access.secrets',
]

describe('the app login of a tenant', () => {
  it.each<[string, () => string]>([
    ['another tenant’s database', () => atDatabase(mine.app_url, other.name)],
    [
      'the master',
      () =>
        Object.assign(new URL(settings().MASTER_DATABASE_URL), {
          username: new URL(mine.app_url).username,
          password: new URL(mine.app_url).password,
        }).href,
    ],
    [
      'the master’s database by its name',
      () => atDatabase(mine.app_url, new URL(settings().MASTER_DATABASE_URL).pathname.slice(1)),
    ],
    ['the host’s own database', () => atDatabase(mine.app_url, new URL(mine.host_url).pathname.slice(1))],
    ['template1', () => atDatabase(mine.app_url, 'template1')],
    ['postgres', () => atDatabase(mine.app_url, 'postgres')],
    [
      'its own database with another tenant’s password',
      () => Object.assign(new URL(mine.app_url), { password: new URL(other.app_url).password }).href,
    ],
    [
      'its own database as its owner, with its own password',
      () => Object.assign(new URL(mine.owner_url), { password: new URL(mine.app_url).password }).href,
    ],
  ])('cannot enter %s', async (_, url) => {
    expect(await refusalOf(url(), sql`select 1`)).toMatch(
      /permission denied for database|password authentication failed|does not exist/,
    )
  })

  it('cannot leave a branch of its own, nor enter one', async () => {
    await makeTenant('confined-branch', { isolation: 'branch' })
    const branch = await databaseOf('confined-branch')
    const as = (login: Database, url: string) =>
      Object.assign(new URL(url), { username: new URL(login.app_url).username, password: new URL(login.app_url).password }).href
    const elsewhere = [mine.app_url, branch.host_url, settings().MASTER_DATABASE_URL]
    const here = ['postgres', 'template1', 'neondb'].map((name) => atDatabase(branch.app_url, name))
    for (const url of [
      ...elsewhere.map((to) => as(branch, to)),
      ...here,
      as(mine, branch.app_url),
      atDatabase(branch.owner_url, 'postgres'),
    ])
      expect(await refusalOf(url, sql`select 1`)).toMatch(
        /permission denied for database|password authentication failed|does not exist/,
      )
  })

  it('has a database whose seal is made with a key of its own', async () => {
    const key = sql`select encode(sha256(inner_key), 'hex') as key from access.secrets`
    const keys = await Promise.all(
      ['confined', 'confined-other', 'confined-branch'].map(async (name) => (await databaseOf(name)).asOwner(key)),
    )
    expect(new Set(keys.map(([row]) => row?.key)).size).toBe(3)
  })

  it('of another tenant’s owner is not let in here either', async () => {
    expect(await refusalOf(atDatabase(other.owner_url, mine.name), sql`select 1`)).toMatch(/permission denied for database/)
  })

  it.each([
    'create table freehold.planted (id integer)',
    'create table access.planted (id integer)',
    'create table public.planted (id integer)',
    'create table planted as select 1',
    'create temporary table planted (id integer)',
    'create temporary view planted as select 1',
    'create schema planted',
    'create function freehold.planted() returns integer language sql as $$ select 1 $$',
    'create function pg_temp.planted() returns integer language sql as $$ select 1 $$',
    'create function public.planted() returns integer language sql as $$ select 1 $$',
    'create type public.planted as (a integer)',
    'create extension pgcrypto',
    'create role planted',
    'create policy planted on freehold.users using (true)',
    'alter table freehold.users disable row level security',
    'alter function access.scope() rename to planted',
    'create or replace function access.scope() returns text language sql as $$ select $1 $$',
    'create trigger planted before update on freehold.sessions for each row execute function access.audit()',
    'grant select on freehold.passwords to freehold_app',
    'truncate freehold.sessions',
    'set role freehold_owner',
    'set session authorization freehold_owner',
    'set session_replication_role = replica',
    'alter role current_user superuser',
    'alter role current_user bypassrls',
    "copy freehold.users to program 'cat'",
    "copy freehold.users from '/etc/passwd'",
    "select pg_read_file('PG_VERSION')",
    'select * from pg_authid',
  ])('cannot %s', async (statement) => {
    expect(await refusalOf(mine.app_url, sql.raw(statement))).toMatch(/^(42501|42P13|0LP01|28000) |must be|permission denied/)
  })

  it('cannot become any role that holds more', async () => {
    const [row] = await mine.asApp(
      sql`select array_agg(rolname::text order by rolname) as roles from pg_roles where pg_has_role(current_user, oid, 'member') and rolname <> current_user`,
    )
    expect(row?.roles).toEqual(['freehold_app'])
    const [flags] = await mine.asApp(
      sql`select rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls from pg_roles where rolname = current_user`,
    )
    expect(flags).toEqual({
      rolsuper: false,
      rolinherit: true,
      rolcreaterole: false,
      rolcreatedb: false,
      rolreplication: false,
      rolbypassrls: false,
    })
  })

  it.each(HIDDEN)('cannot read %s', async (table) => {
    expect(await refusalOf(mine.app_url, sql.raw(`select * from ${table}`))).toMatch(/^42501 /)
    expect(await refusalOf(mine.app_url, admitBo(), sql.raw(`select * from ${table}`))).toMatch(/^42501 /)
  })

  it('cannot read a password hash, wherever it is kept', async () => {
    const kept = await mine.asOwner(
      sql`select table_schema || '.' || table_name as name from information_schema.columns where column_name = 'password_hash'`,
    )
    expect(kept.map(({ name }) => name).sort()).toEqual(['freehold.passwords', 'freehold.registrations'])
    for (const { name } of kept)
      expect(await refusalOf(mine.app_url, admitBo(), sql.raw(`select password_hash from ${name}`)), name).toMatch(/^42501 /)
  })

  it('cannot write what it may only read', async () => {
    for (const statement of [
      'insert into freehold.users (id) values (gen_random_uuid())',
      'update freehold.users set must_change_password = false',
      'update freehold.users set id = gen_random_uuid()',
      'update freehold.roles set is_admin = true',
      "insert into freehold.roles (id, name, is_system) values (gen_random_uuid(), 'planted', true)",
      'delete from freehold.users',
      'update freehold.tenant set is_active = true',
      'update freehold.sessions set expires_at = now()',
      'delete from freehold.sessions',
    ])
      expect(await refusalOf(mine.app_url, admitBo(), sql.raw(statement)), statement).toMatch(/^42501 /)
  })

  it.each([
    "update freehold.users set role = 'admin'",
    'update freehold.users set is_active = false',
    'update freehold.user_roles set ends_at = now()',
    'update freehold.role_permissions set ends_at = now()',
    "update freehold.roles set name = 'planted'",
    'update freehold.overrides set ends_at = now()',
    "update freehold.api_keys set name = 'planted'",
    "update freehold.permissions set description = 'planted'",
    "update freehold.units set name = 'planted'",
    'update freehold.delegations set revoked_at = now()',
    "update freehold.organizations set name = 'planted'",
    "update freehold.employees set position = 'planted'",
    "update freehold.competency_types set name = 'planted'",
    'update freehold.competencies set level = 5',
    'delete from freehold.competencies',
    'delete from freehold.units',
    "update freehold.audiences set token_permissions = 'none'",
    'delete from freehold.audiences',
  ])('changes nothing when it was admitted for something else: %s', async (statement) => {
    const [, table = ''] = /freehold\.(\w+)/.exec(statement) ?? []
    expect((await readable(mine))[table], 'something that could change').toBeGreaterThan(0)
    expect(await mine.asApp(admitBo(), sql.raw(`${statement} returning 1 as one`))).toEqual([])
    expect(await mine.asApp(sql.raw(`${statement} returning 1 as one`))).toEqual([])
  })

  it.each([
    'insert into freehold.user_roles (id, user_id, role_id) select gen_random_uuid(), id, gen_random_uuid() from (select gen_random_uuid() as id) x',
    "insert into freehold.overrides (id, user_id, permission, effect, scope) values (gen_random_uuid(), gen_random_uuid(), 'user:read', 'grant', 'all')",
    "insert into freehold.roles (id, name) values (gen_random_uuid(), 'planted')",
    "insert into freehold.permissions (id, name) values (gen_random_uuid(), 'planted:read')",
    "insert into freehold.units (id, kind, name) values (gen_random_uuid(), 'team', 'planted')",
    "insert into freehold.organizations (id, name) values (gen_random_uuid(), 'planted')",
    "insert into freehold.employees (id, document_type, document_number, given_names, family_name) values (gen_random_uuid(), 'dni', '1', 'p', 'p')",
    "insert into freehold.competency_types (id, name, kind) values (gen_random_uuid(), 'planted', 'training')",
    'insert into freehold.competencies (id, user_id, type_id, level, issued_at) values (gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 5, now())',
    "insert into freehold.audiences (id, identifier, name) values (gen_random_uuid(), 'https://planted.test', 'planted')",
    "select access.first_password(gen_random_uuid(), 'x')",
  ])('is refused when it was admitted for something else: %s', async (statement) => {
    expect(await refusalOf(mine.app_url, admitBo(), sql.raw(statement))).toMatch(/^(42501|FH4\d\d) /)
    expect(await refusalOf(mine.app_url, sql.raw(statement))).toMatch(/^(42501|FH4\d\d) /)
  })

  it.each([
    "access.bound('{}')",
    "access.must_hold('{}', '{}', '{}')",
    "access.lacking('{}', null)",
    'access.held_everywhere(null)',
    "access.potential_grants('{}', '{}')",
    'access.require_all_of(gen_random_uuid())',
    "access.require_power_of('{}')",
    'access.keep_admin()',
    'access.grants(gen_random_uuid(), now())',
    "access.effective_scope(gen_random_uuid(), 'user:read')",
    "access.own_reasons(gen_random_uuid(), 'user:read', now())",
    "access.mac('x')",
    "access.record('A', 'a', 'r', 'i', null, null)",
    'access.check_tenant(gen_random_uuid())',
    'access.roles_of(gen_random_uuid(), now())',
    "access.decide(gen_random_uuid(), 'user:read', now())",
    'access.permissions_of(gen_random_uuid(), now())',
    'access.role_names(gen_random_uuid(), now())',
    "access.finish_attempt(null, gen_random_uuid(), 'x')",
    "access.begin_attempt(null, 'x', null, null, 'x', 'x', 'x')",
    "access.count_failures(null, 'x', null, 1)",
    'access.device_token(null, gen_random_uuid(), gen_random_uuid(), 1)',
    'access.clear_failures(gen_random_uuid())',
    'access.unlock_as_owner(null)',
    'access.reset_factors_as_owner(null)',
    'access.take_step(gen_random_uuid(), 1)',
    "access.take_backup_code(gen_random_uuid(), 'x')",
    "access.open_challenge(null, 'x')",
    'access.drop_totp(gen_random_uuid())',
    'access.token_claims(null, null, null, null)',
    "access.masked('{}', '{}')",
  ])('cannot call %s', async (call) => {
    expect(await refusalOf(mine.app_url, sql.raw(`select ${call}`))).toMatch(/^42501 /)
  })

  it('cannot put audit triggers on a table, nor take a trigger for a function', async () => {
    expect(await refusalOf(mine.app_url, sql`call access.audited('freehold.sessions', 'x')`)).toMatch(/^42501 /)
    expect(await refusalOf(mine.app_url, sql`select access.audit()`)).toMatch(/^42501 /)
  })
})
