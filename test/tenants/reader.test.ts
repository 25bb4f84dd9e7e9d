/** Threat: what anybody's request looks up in the master runs as a login that may do anything there. */
import { env } from 'cloudflare:workers'
import { type SQL, sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { makeReader, readerOf, readerUrlOf } from '../../src/tenants/provisioning/logins.ts'
import { requireOrdinary } from '../../src/tenants/provisioning/roles.ts'
import { lookUp, platformRealm } from '../../src/tenants/registry/registry.ts'
import { type Database, databaseOf, master, refusalOf, rowsOf, settings } from '../support/databases.ts'
import { call, operatorToken } from '../support/people.ts'
import { copyTenant } from '../support/tenants.ts'

const NOWHERE = 'postgresql://somebody:nothing@away.test/nowhere'
const OURS = sql`('freehold'::regnamespace, 'access'::regnamespace, 'platform'::regnamespace)`
const reader = () => settings().MASTER_READER_URL
const name = () => new URL(reader()).username
const asReader = (...statements: SQL[]) => rowsOf(reader(), ...statements)
const refused = (...statements: SQL[]) => refusalOf(reader(), ...statements)
const database = () => sql`${sql.identifier(decodeURIComponent(new URL(reader()).pathname.slice(1)))}`
/** The connection string of another reader, of this name. */
const another = (username: string, password: string) => Object.assign(new URL(readerUrlOf(reader(), password)), { username }).href

let tenant: Database
let tables: string[]
beforeAll(async () => {
  await copyTenant('read-only')
  tenant = await databaseOf('read-only')
  const rows = await master(
    sql`select oid::regclass::text as name from pg_class where relkind = 'r' and relnamespace in ${OURS} order by 1`,
  )
  tables = rows.map(({ name }) => name)
})

describe('look-ups', () => {
  const without = (setting: 'MASTER_DATABASE_URL' | 'MASTER_READER_URL') => ({
    env,
    config: { ...settings(), [setting]: NOWHERE },
    meter: { master: 0 },
  })

  it('of tenants and of the platform need no other login than the reader’s', async () => {
    const found = await lookUp(without('MASTER_DATABASE_URL'), 'read-only', true)
    expect(found).toMatchObject({ status: 'active', realm: { id: tenant.id, database_url: tenant.app_url } })
    expect((await platformRealm(without('MASTER_DATABASE_URL'), true)).keys).toHaveLength(1)
    expect(await lookUp(without('MASTER_DATABASE_URL'), 'read-only-nobody', true)).toBeNull()
    // What memory keeps must be right again for other tests.
    await platformRealm({ config: settings(), meter: { master: 0 } }, true)
  })

  it('do not fall back to the login that owns the master', async () => {
    await expect(lookUp(without('MASTER_READER_URL'), 'read-only', true)).rejects.toThrow()
    await expect(platformRealm(without('MASTER_READER_URL'), true)).rejects.toThrow()
  })

  it('are part of /readyz, as the other login is', async () => {
    expect((await call('', '/readyz')).status).toBe(200)
    for (const setting of ['MASTER_READER_URL', 'MASTER_DATABASE_URL'])
      expect((await call('', '/readyz', { settings: { [setting]: NOWHERE } })).status, setting).toBe(503)
  })
})

describe('the reader’s login', () => {
  it('begins no transaction that writes', async () => {
    expect(await refused(sql`create temporary table planted (id integer)`)).toMatch(/^25006 /)
    expect(await asReader(sql`show transaction_read_only`)).toEqual([{ transaction_read_only: 'on' }])
  })

  it('writes no table, also where it asks for a transaction that may', async () => {
    expect(tables.length).toBeGreaterThan(30)
    const writable = sql`set transaction read write`
    for (const table of tables) {
      const writes = [
        `insert into ${table} default values`,
        `delete from ${table}`,
        `truncate ${table}`,
        `lock table ${table} in row exclusive mode`,
      ]
      for (const write of writes) {
        expect(await refused(writable, sql.raw(write)), write).toMatch(/^42501 permission denied for (table|schema)/)
        expect(await refused(sql.raw(write)), write).not.toBe('none')
      }
    }
    const changes = [
      "update platform.tenants set status = 'inactive'",
      "update platform.realm set refresh_key_encrypted = ''",
      'update platform.signing_keys set use_from = now()',
    ]
    for (const change of changes) expect(await refused(writable, sql.raw(change)), change).toMatch(/^42501 /)
    expect(await refused(writable, sql`select nextval('platform.registry_v')`)).toMatch(/^42501 /)
    for (const role of ['freehold_owner', 'freehold_app'])
      expect(await refused(sql`set local role ${sql.identifier(role)}`), role).toMatch(/^42501 /)
  })

  it('reads what an entry of the registry is made of, and no other column', async () => {
    const rows = await asReader(
      sql`select a.attrelid::regclass::text as "table", string_agg(a.attname, ' ' order by a.attname) as columns from pg_attribute a join pg_class c on c.oid = a.attrelid
          where c.relkind = 'r' and c.relnamespace in ${OURS} and a.attnum > 0 and not a.attisdropped and has_column_privilege(a.attrelid, a.attnum, 'select') group by 1 order by 1`,
    )
    expect(rows).toEqual([
      { table: 'platform.licenses', columns: 'grace_days tenant_id valid_from valid_until' },
      { table: 'platform.realm', columns: 'former_refresh_key_encrypted id refresh_key_encrypted refresh_key_from' },
      { table: 'platform.signing_keys', columns: 'kid private_jwk_encrypted public_jwk realm_id use_from' },
      { table: 'platform.subdomains', columns: 'name tenant_id until v' },
      {
        table: 'platform.tenants',
        columns:
          'app_url_encrypted config deleted_at environment former_refresh_key_encrypted id legal_name presets_version refresh_key_encrypted refresh_key_from role_preset schema_version status subdomain v',
      },
    ])
    for (const column of ['owner_url_encrypted', 'initial_admin_encrypted', 'next_refresh_key_encrypted', 'admin_email'])
      expect(await refused(sql`select ${sql.identifier(column)} from platform.tenants`), column).toMatch(/^42501 /)
    for (const table of ['platform.hosts', 'freehold.users', 'freehold.sessions', 'freehold.audit_log', 'access.secrets'])
      expect(await refused(sql`select from ${sql.raw(table)}`), table).toMatch(/^42501 /)
    expect(await refused(sql`select access.claims()`)).toMatch(/^42501 /)
  })

  it('holds one role, has no attribute, limits of time and of connections, and enters no other database', async () => {
    const [row] = await master(
      sql`select r.rolsuper or r.rolbypassrls or r.rolcreaterole or r.rolcreatedb or r.rolreplication as mighty, r.rolconnlimit as connections,
            array_to_string(r.rolconfig, ' ') as settings, (select string_agg(m.roleid::regrole::text, ' ') from pg_auth_members m where m.member = r.oid) as roles
          from pg_roles r where r.rolname = ${name()}`,
    )
    expect(row).toMatchObject({ mighty: false, connections: 40, roles: 'freehold_reader' })
    expect(row?.settings).toMatch(/statement_timeout=15s/)
    expect(row?.settings).toMatch(/default_transaction_read_only=on/)
    // One made in the same way: other files may use all connections of this one.
    const other = another('freehold_reader_u', 'password-of-another-reader')
    await master(...makeReader(database(), other))
    const { username, password } = new URL(other)
    const elsewhere = Object.assign(new URL(tenant.app_url), { username, password })
    expect(await refusalOf(elsewhere.href, sql`select 1`)).toMatch(/permission denied for database/)
  })
})

describe('making it', () => {
  it('again gives it the password of its setting', async () => {
    const [first, second] = ['first', 'second'].map((word) => another('freehold_reader_t', `${word}-password-of-a-reader`))
    if (!first || !second) throw new Error('There are two.')
    await master(...makeReader(database(), first))
    expect(await rowsOf(first, sql`select 1 as one`)).toEqual([{ one: 1 }])
    await master(...makeReader(database(), second))
    expect(await refusalOf(first, sql`select 1`)).toContain('authentication failed')
    expect(await rowsOf(second, sql`show transaction_read_only`)).toEqual([{ transaction_read_only: 'on' }])
  })

  it('refuses a login that may do more, by its name', async () => {
    const login = new URL(tenant.app_url).username
    await expect(requireOrdinary(settings().MASTER_DATABASE_URL, readerOf(tenant.app_url))).rejects.toThrow(login)
  })

  it.each([
    ['a name that outside scripts take for a tenant’s', { username: 'freehold_apple_app_1' }],
    ['a name that needs quotes', { username: 'Reader' }],
    ['a password that is short', { password: 'short' }],
    ['a password that needs quotes', { password: "'; drop role freehold_owner; --" }],
  ])('refuses %s', (_, wrong) => {
    const url = Object.assign(new URL(reader()), wrong).href
    expect(() => makeReader(database(), url)).toThrow(/^MASTER_READER_URL: /)
  })
})

it('no login but those of tenants has _app in its name', async () => {
  await operatorToken()
  const logins = await master(sql`select rolname as name from pg_roles where rolcanlogin and strpos(rolname, '_app') > 0`)
  expect(logins.length).toBeGreaterThan(0)
  for (const login of logins) expect(login.name).toMatch(/^freehold_app_[0-9a-f]{12}_[ab]$/)
})
