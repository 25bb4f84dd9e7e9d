/** The last look before a tenant is handed out finds what it is there to find. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { verifyIsolation } from '../../src/tenants/provisioning/verify-isolation.ts'
import { type Database, databaseOf, rowsOf, settings } from '../support/databases.ts'
import { makeTenant, operatorToken } from '../support/people.ts'

describe('the proof', () => {
  let tenant: Database
  beforeAll(async () => {
    await makeTenant('proven', {}, await operatorToken())
    tenant = await databaseOf('proven')
  })
  const foreign = () => [settings().MASTER_DATABASE_URL, tenant.host_url]
  const proof = () => verifyIsolation(tenant, foreign())

  it('passes for a tenant as it was made, as often as it is asked, and leaves nothing in the audit', async () => {
    const [before] = await tenant.asOwner(sql`select count(*)::integer as n from freehold.audit_log`)
    await proof()
    await proof()
    expect(await tenant.asOwner(sql`select count(*)::integer as n from freehold.audit_log`)).toEqual([before])
  })

  it.each([
    [
      'create a table in the schema',
      'grant create on schema freehold to freehold_app',
      'revoke create on schema freehold from freehold_app',
    ],
    [
      'read the key that signs claims',
      'grant select on access.secrets to freehold_app',
      'revoke select on access.secrets from freehold_app',
    ],
    [
      'read a password hash',
      'grant select on freehold.passwords to freehold_app',
      'revoke select on freehold.passwords from freehold_app',
    ],
    [
      'sees users',
      'alter table freehold.users disable row level security',
      'alter table freehold.users enable row level security',
    ],
    ['sees users', 'create policy planted on freehold.users using (true)', 'drop policy planted on freehold.users'],
    [
      'with forged claims',
      `create policy planted on freehold.users using (nullif(current_setting('access.claims', true), '')::jsonb ? 'user_id')`,
      'drop policy planted on freehold.users',
    ],
  ])('finds that the app login can %s (%s)', async (words, plant, undo) => {
    await tenant.asOwner(sql.raw(plant))
    await expect(proof()).rejects.toThrow(words)
    await tenant.asOwner(sql.raw(undo))
    await proof()
  })

  it('finds that a login needs no key of the system', async () => {
    const [keyed] = await tenant.asOwner(
      sql`select pg_get_functiondef('access.check_system(uuid, text)'::regprocedure) as source`,
    )
    await tenant.asOwner(
      sql.raw(`create or replace function access.check_system(tenant_id uuid, system_key text) returns freehold.tenant
        language sql stable set search_path = pg_catalog, pg_temp as 'select access.check_tenant(tenant_id)'`),
    )
    await expect(proof()).rejects.toThrow('log in without the key of the system')
    await tenant.asOwner(sql.raw(keyed?.source))
    await proof()
  })

  it.each(['record_refusal', 'begin_login', 'finish_login', 'refresh'])(
    'finds that access.%s leaves its caller admitted',
    async (name) => {
      const definition = sql`select pg_get_functiondef(oid) as text from pg_proc where pronamespace = 'access'::regnamespace and proname = ${name}`
      const [{ text }] = (await tenant.asOwner(definition)) as [{ text: string }]
      const admission = `perform set_config('access.claims', made.said, true), set_config('access.signature', encode(access.hmac(held.inner_key, held.outer_key, access.bound('claims:' || made.said)), 'hex'), true)
      from access.secrets held, (select jsonb_build_object('user_id', gen_random_uuid(), 'permission', 'user:read', 'scope', 'all')::text as said) made`
      const planted = text.replace(/\nbegin\n/, () => `\nbegin\n  ${admission};\n`)
      expect(planted).not.toBe(text)
      await tenant.asOwner(sql.raw(planted))
      const found = expect(proof()).rejects.toThrow('sees users after a public endpoint')
      await found.finally(() => tenant.asOwner(sql.raw(text)))
      await proof()
    },
  )

  it('finds a database that lets the app login in', async () => {
    await expect(verifyIsolation(tenant, [tenant.app_url])).rejects.toThrow(`connect to the database ${tenant.name}`)
  })

  it.each([
    ['owner', 'createdb', 'nocreatedb'],
    ['owner', 'bypassrls', 'nobypassrls'],
    ['app', 'createrole', 'nocreaterole'],
  ] as const)('finds that the %s login has an attribute: %s', async (login, plant, undo) => {
    const { username } = new URL(tenant[`${login}_url`])
    await rowsOf(tenant.host_url, sql.raw(`alter role ${username} ${plant}`))
    await expect(proof()).rejects.toThrow(`The ${login} login has privileges of others: ${username}.`)
    await rowsOf(tenant.host_url, sql.raw(`alter role ${username} ${undo}`))
    await proof()
  })

  it('finds that a login is in a role that is not its own', async () => {
    const { username } = new URL(tenant.app_url)
    await rowsOf(tenant.host_url, sql.raw(`grant freehold_owner to ${username}`))
    await expect(proof()).rejects.toThrow('The app login has privileges of others: freehold_owner.')
    await rowsOf(tenant.host_url, sql.raw(`revoke freehold_owner from ${username}`))
    await proof()
  })

  it('does not take a database that it could not try for one that is closed', async () => {
    const gone = Object.assign(new URL(tenant.app_url), { pathname: '/nowhere' }).href
    await expect(verifyIsolation(tenant, [gone])).rejects.toThrow('could not be checked')
    await expect(verifyIsolation({ ...tenant, app_url: gone }, [])).rejects.toThrow('could not be checked')
  })

  it('finds a database that lets the owner login in', async () => {
    const { username } = new URL(tenant.owner_url)
    const database = new URL(tenant.host_url).pathname.slice(1)
    await rowsOf(tenant.host_url, sql.raw(`grant connect on database ${database} to ${username}`))
    await expect(proof()).rejects.toThrow(`The owner login can connect to the database ${database}.`)
    await rowsOf(tenant.host_url, sql.raw(`revoke connect on database ${database} from ${username}`))
  })
})
