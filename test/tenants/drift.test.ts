/** Threat: somebody changed a tenant's database by hand, or took a protection from it, and nobody learns of it. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { tenantMigrations } from '../../src/tenants/provisioning/bundled.ts'
import { migrate } from '../../src/tenants/provisioning/migrations.ts'
import { sealOwnerUrl } from '../../src/tenants/provisioning/owner-url.ts'
import { atDatabase, type Database, databaseOf, master, rowsOf, settings } from '../support/databases.ts'
import { call, makeTenant, operatorToken } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { copyTenant } from '../support/tenants.ts'

const NEWEST = tenantMigrations.at(-1)?.name
let token: string
let hand: Database
beforeAll(async () => {
  token = await operatorToken()
  await copyTenant('drift-hand')
  hand = await databaseOf('drift-hand')
})

const ask = (id: string) => call('', `/platform/v1/tenants/${id}/drift`, { token })
const driftOf = async ({ id }: Database): Promise<string[]> =>
  (await ask(id)).body.drift.map(({ object, state }: Record<string, string>) => `${object} ${state}`)
const untouched = { schema_version: NEWEST, is_compared: true, drift: [], ledger: [] }

describe('a database that nobody changed has no drift', () => {
  it('of a tenant that was provisioned', async () => {
    await makeTenant('drift-made')
    expect(await ask((await databaseOf('drift-made')).id)).toMatchObject({ status: 200, body: untouched })
  })

  it('of one with a branch of its own, whose schema was copied', async () => {
    await makeTenant('drift-branched', { isolation: 'branch' })
    expect((await ask((await databaseOf('drift-branched')).id)).body).toEqual(untouched)
  })

  it('of a copied one, and one with tables and functions of its own in other schemas', async () => {
    expect((await ask(hand.id)).body).toEqual(untouched)
    const at = atDatabase(hand.host_url, hand.name)
    await rowsOf(
      at,
      sql`create table public.theirs (id integer primary key)`,
      sql`create schema reports`,
      sql`create function reports.now() returns timestamptz language sql as 'select now()'`,
    )
    expect((await ask(hand.id)).body).toEqual(untouched)
  })
})

/** What somebody did, in a statement of the owner, and the object that is named for it. */
const changes: [what: string, statement: string, named: string | string[]][] = [
  ['a column has another default', "alter table freehold.units alter name set default 'x'", 'column freehold.units.name changed'],
  [
    'a column may be null',
    'alter table freehold.units alter created_at drop not null',
    'column freehold.units.created_at changed',
  ],
  [
    'a column has another type',
    'alter table freehold.mail_attempts alter detail type varchar(900)',
    'column freehold.mail_attempts.detail changed',
  ],
  [
    'a column is gone',
    'alter table freehold.mail_attempts drop outcome cascade',
    'column freehold.mail_attempts.outcome missing',
  ],
  ['a column is added', 'alter table freehold.units add planted text', 'column freehold.units.planted added'],
  ['a column is granted', 'grant update (kind) on freehold.units to public', 'column freehold.units.kind changed'],
  [
    'a constraint is gone',
    'alter table freehold.units drop constraint units_name_form',
    'constraint units_name_form on freehold.units missing',
  ],
  [
    'a constraint says something else',
    'alter table freehold.units drop constraint units_not_own_parent, add constraint units_not_own_parent check (parent_id <> id or true)',
    'constraint units_not_own_parent on freehold.units changed',
  ],
  ['an index is gone', 'drop index freehold.units_sorted', 'index freehold.units_sorted on freehold.units missing'],
  ['an index is added', 'create index planted on freehold.units (created_at)', 'index freehold.planted on freehold.units added'],
  [
    'a function has another body',
    "create or replace function access.request_of(request jsonb) returns jsonb language sql immutable as 'select request'",
    'function access.request_of changed',
  ],
  [
    'a function is gone',
    'drop function access.users_measured_anew(freehold.units, freehold.units) cascade',
    'function access.users_measured_anew missing',
  ],
  [
    'a function is added',
    "create function freehold.planted() returns integer language sql as 'select 1'",
    'function freehold.planted added',
  ],
  ['a function has another volatility', 'alter function access.scope() volatile', 'function access.scope changed'],
  ['a function is no definer', 'alter function access.before_unit() security invoker', 'function access.before_unit changed'],
  ['a function has another search_path', 'alter function access.admit set search_path = public', 'function access.admit changed'],
  ['a function is everybody’s', 'grant execute on function access.permission() to public', 'function access.permission changed'],
  [
    'a function has an overload',
    "create function access.principal(text) returns text language sql as 'select $1'",
    'function access.principal changed',
  ],
  [
    'a procedure is everybody’s',
    'grant execute on procedure access.make_secrets() to public',
    'procedure access.make_secrets changed',
  ],
  [
    'a trigger is off',
    'alter table freehold.units disable trigger audit_delete',
    'trigger audit_delete on freehold.units changed',
  ],
  ['a trigger is gone', 'drop trigger audit_update on freehold.units', 'trigger audit_update on freehold.units missing'],
  ['a policy lets all through', 'alter policy read on freehold.units using (true)', 'policy read on freehold.units changed'],
  ['a policy is added', 'create policy planted on freehold.units using (true)', 'policy planted on freehold.units added'],
  ['row level security is off', 'alter table freehold.sessions disable row level security', 'table freehold.sessions changed'],
  ['a table is granted', 'grant delete on freehold.audit_log to freehold_app', 'table freehold.audit_log changed'],
  [
    'a table is added',
    'create table freehold.planted_table (id integer primary key)',
    [
      'column freehold.planted_table.id added',
      'constraint planted_table_pkey on freehold.planted_table added',
      'table freehold.planted_table added',
    ],
  ],
  ['a view is added', 'create view freehold.planted_view as select id from freehold.users', 'view freehold.planted_view added'],
  [
    'a rule is added',
    'create rule planted as on delete to freehold.units do instead nothing',
    'rule planted on freehold.units added',
  ],
  ['a sequence is added', 'create sequence access.planted', 'sequence access.planted added'],
  ['a type has a new value', "alter type access.scope add value 'world'", 'type access.scope changed'],
  ['a schema is granted', 'grant create on schema access to freehold_app', 'schema access changed'],
]

describe('what was changed by hand is named', () => {
  it.each(changes)('%s', async (_, statement, named) => {
    const before = await driftOf(hand)
    await hand.asOwner(sql.raw(statement))
    const after = await driftOf(hand)
    expect(after.filter((line) => !before.includes(line)).sort()).toEqual([named].flat())
    expect(before.filter((line) => !after.includes(line))).toEqual([])
  })

  it('a function belongs to somebody else', async () => {
    const at = atDatabase(hand.host_url, hand.name)
    await rowsOf(at, sql`alter function access.verify_phone owner to current_user`)
    expect(await driftOf(hand)).toContain('function access.verify_phone changed')
  })

  it('all of it, each once, and nothing else; and the migrator puts nothing back', async () => {
    const all = await driftOf(hand)
    expect(all.length).toBe(changes.flatMap(([, , named]) => named).length + 1)
    await migrate(hand.owner_url, tenantMigrations)
    expect(await driftOf(hand)).toEqual(all)
  })
})

describe('the ledger', () => {
  let ledger: Database
  const said = async () => (await ask(ledger.id)).body
  const [first = '', second = ''] = tenantMigrations.map(({ name }) => name)
  beforeAll(async () => {
    await copyTenant('drift-ledger')
    ledger = await databaseOf('drift-ledger')
  })

  it('that was edited is named', async () => {
    await ledger.asOwner(sql`update freehold.migrations set checksum = 'edited' where name = ${first}`)
    expect(await said()).toEqual({ ...untouched, ledger: [{ migration: first, state: 'changed' }] })
  })

  it('that lacks a migration is named, and one of a later release', async () => {
    await ledger.asOwner(sql`delete from freehold.migrations where name = ${second}`)
    await ledger.asOwner(sql`insert into freehold.migrations (name, checksum) values ('tenant/9999_later', 'x')`)
    const named = [
      { migration: first, state: 'changed' },
      { migration: second, state: 'missing' },
      { migration: 'tenant/9999_later', state: 'added' },
    ]
    expect(await said()).toEqual({ schema_version: 'tenant/9999_later', is_compared: false, drift: [], ledger: named })
  })

  it('that is gone lacks all of them', async () => {
    await ledger.asOwner(sql`drop table freehold.migrations`)
    const missing = tenantMigrations.map(({ name }) => ({ migration: name, state: 'missing' }))
    expect(await said()).toEqual({ schema_version: null, is_compared: false, drift: [], ledger: missing })
  })
})

describe('it cannot be said', () => {
  it('what differs on the schema before, and the answer says so', async () => {
    await copyTenant('drift-behind')
    const { id, asOwner } = await databaseOf('drift-behind')
    await asOwner(sql`delete from freehold.migrations where name = ${NEWEST}`)
    const before = tenantMigrations.at(-2)?.name
    expect((await ask(id)).body).toEqual({ schema_version: before, is_compared: false, drift: [], ledger: [] })
  })

  it('of a database that does not answer', async () => {
    const { id } = await copyTenant('drift-away')
    const away = await sealOwnerUrl(settings(), id, 'postgresql://somebody:nothing@away.test/nowhere')
    await master(sql`update platform.tenants set owner_url_encrypted = ${away} where id = ${id}`)
    expectProblem(await ask(id), 503, 'database_unavailable')
  })

  it('of a tenant that is unknown, or has no database yet', async () => {
    expectProblem(await ask(crypto.randomUUID()), 404, 'not_found')
    const { id } = await copyTenant('drift-unmade')
    await master(sql`update platform.tenants set status = 'failed' where id = ${id}`)
    expectProblem(await ask(id), 409, 'illegal_state')
  })
})
