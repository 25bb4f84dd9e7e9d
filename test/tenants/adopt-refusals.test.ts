/**
 * What a database holds, and what its login may do, decides whether it is adopted. Threat: Freehold takes what is another tenant's, another
 * deployment's or somebody's by accident; or it stops half-way for want of a privilege, and nobody knows which.
 */
import { type SQL, sql } from 'drizzle-orm'
import { describe, expect, it } from 'vitest'
import { tenantMigrations } from '../../src/tenants/provisioning/bundled.ts'
import { migrate } from '../../src/tenants/provisioning/migrations.ts'
import { databaseOf, master, refusalOf } from '../support/databases.ts'
import { ADMIN, call, login, operatorToken, wanted } from '../support/people.ts'
import {
  adopt,
  eraseTenant,
  fillShop,
  orphaned,
  type Stranger,
  shopOf,
  strangersDatabase,
  strangersLogin,
} from '../support/stranger.ts'

let n = 0
const nameFor = () => `refused-${++n}`

/** Why a database is not adopted, and the statements that an administrator must run. Nothing is made of the tenant. */
async function refused(url: string, status = 409, code = 'illegal_state', more: object = {}) {
  const name = nameFor()
  const { body, ...answer } = await adopt(name, url, more)
  expect([answer.status, body.code], JSON.stringify(body)).toEqual([status, code])
  expect(JSON.stringify(body)).not.toContain(new URL(url).password)
  expect(await master(sql`select id from platform.tenants where subdomain = ${name}`)).toEqual([])
  const statements: string[] = (body.errors ?? []).map(({ detail }: { detail: string }) => detail)
  return { detail: body.detail as string, statements }
}

/** Freehold's schema in a stranger's database, without a tenant. */
async function withSchema(name: string, ...then: SQL[]): Promise<Stranger> {
  const shop = await strangersDatabase(name)
  await shop.asOwner(
    sql`grant freehold_owner to current_user with inherit true, set true`,
    sql.raw(`grant create on database ${new URL(shop.url).pathname.slice(1)} to freehold_owner`),
  )
  await migrate(shop.url, tenantMigrations)
  if (then.length) await shop.asOwner(sql`set local role freehold_owner`, ...then)
  return shop
}

describe('a login', () => {
  it('that may do too little is refused with statements that let it do enough', async () => {
    const shop = await strangersDatabase('refused-little')
    await strangersLogin(shop, 'refused_reader')
    await fillShop(shop, 'refused_reader')
    const little = await strangersLogin(shop, 'refused_little')
    const before = await shopOf(shop)
    const { detail, statements } = await refused(little)
    expect(detail).toMatch(
      /^This login may do too little\. Give that of "?neondb_owner.*, who owns the database, or have an administrator run/,
    )
    expect(statements).toEqual([
      'alter role refused_little createrole;',
      'grant refused_little to current_user with inherit true, set true;',
      'alter database shop_refused_little owner to refused_little;',
      'grant freehold_owner, freehold_app to refused_little with admin option;',
    ])
    expect(await shopOf(shop)).toEqual(before)
    for (const statement of statements) await shop.asOwner(sql.raw(statement))
    const name = nameFor()
    const { status, body } = await adopt(name, little)
    expect(status, JSON.stringify(body)).toBe(201)
    expect((await login(name)).token_type).toBe('Bearer')
    await eraseTenant(body.id, name)
  })

  it('is not enough where everybody may create in the schema public: the statement that ends it is named', async () => {
    const shop = await strangersDatabase('refused-public')
    await shop.asOwner(sql`grant create on schema public to public`)
    const { statements } = await refused(shop.url)
    expect(statements).toEqual(['revoke create on schema public from public;'])
    for (const statement of statements) await shop.asOwner(sql.raw(statement))
    expect((await adopt(nameFor(), shop.url)).status).toBe(201)
  })
})

it('a login that row security shows an empty schema is refused, and with the statement that is named takes the database', async () => {
  const shop = await withSchema('refused-blind')
  const blind = await strangersLogin(shop, 'refused_blind', 'login createrole')
  await shop.asOwner(
    sql`grant refused_blind to current_user with inherit true, set true`,
    sql`alter database shop_refused_blind owner to refused_blind`,
    sql`grant freehold_owner, freehold_app to refused_blind with admin option, inherit false`,
    sql`set local role freehold_owner`,
    sql`grant usage on schema freehold to refused_blind`,
    sql`grant select on all tables in schema freehold to refused_blind`,
  )
  const { detail, statements } = await refused(blind)
  expect(detail).toMatch(/^The login cannot read Freehold’s schema\./)
  expect(statements).toEqual(['grant freehold_owner to refused_blind with admin option, inherit true, set true;'])
  for (const statement of statements) await shop.asOwner(sql.raw(statement))
  const { status, body } = await adopt(nameFor(), blind)
  expect(status, JSON.stringify(body)).toBe(201)
})

describe('a database', () => {
  it('with Freehold’s schema and no tenant is adopted', async () => {
    const shop = await withSchema('refused-schema')
    const name = nameFor()
    const { status, body } = await adopt(name, shop.url)
    expect(status, JSON.stringify(body)).toBe(201)
    expect((await login(name)).token_type).toBe('Bearer')
  })

  it.each<[string, SQL, RegExp]>([
    [
      'of a later release',
      sql`insert into freehold.migrations (name, checksum) values ('tenant/9999_later', 'x')`,
      /^The schema of the database is of a later release: it has the migration tenant\/9999_later\.$/,
    ],
    [
      'of before the first release',
      sql`update freehold.migrations set name = 'tenant/0000_draft' where name = 'tenant/0000_baseline'`,
      /^The schema of the database was made by a version of Freehold that was never released/,
    ],
    [
      'whose migration has another text',
      sql`update freehold.migrations set checksum = 'x' where name = 'tenant/0000_baseline'`,
      /^The schema of the database is another than that of this release: the migration tenant\/0000_baseline differs\.$/,
    ],
    ['that is a master', sql`create schema platform`, /^The database is the master of a deployment of Freehold\.$/],
  ])('%s is refused, and stays as it is', async (what, change, words) => {
    const shop = await withSchema(`refused-${what.replaceAll(' ', '-')}`.slice(0, 40), change)
    const ledger = () => shop.asOwner(sql`select name, checksum from freehold.migrations order by 1`)
    const before = await ledger()
    expect((await refused(shop.url)).detail).toMatch(words)
    expect(await ledger()).toEqual(before)
  })

  it.each(['freehold', 'access'])('with a schema %s that is somebody’s own is refused with what was found', async (schema) => {
    const shop = await strangersDatabase(`refused-own-${schema}`)
    await shop.asOwner(sql.raw(`create schema ${schema}`), sql.raw(`create table ${schema}.ledger (id integer)`))
    expect((await refused(shop.url)).detail).toMatch(
      new RegExp(
        `^The database has a schema ${schema} that is not Freehold’s: it belongs to neondb_owner.* and holds ledger\\.$`,
      ),
    )
  })

  it('without a schema public is adopted', async () => {
    const shop = await strangersDatabase('refused-bare')
    await shop.asOwner(sql`drop schema public`)
    const { status, body } = await adopt(nameFor(), shop.url)
    expect(status, JSON.stringify(body)).toBe(201)
  })

  it('that is a tenant’s here is refused by the tenant’s name, also through the pooler', async () => {
    const shop = await strangersDatabase('refused-twice')
    const name = nameFor()
    expect((await adopt(name, shop.url)).status).toBe(201)
    const pooled = Object.assign(new URL(shop.url), { hostname: shop.host.replace('.', '-pooler.') }).href
    for (const url of [shop.url, pooled])
      expect((await refused(url, 409, 'already_exists')).detail).toBe(`The database is that of the tenant ${name}.`)
  })

  it('of many adoptions at once is given to one', async () => {
    const shop = await strangersDatabase('refused-race')
    const names = Array.from({ length: 5 }, nameFor)
    const answers = await Promise.all(names.map((name) => adopt(name, shop.url)))
    expect(answers.map(({ status }) => status).sort()).toEqual([201, 409, 409, 409, 409])
    expect(new Set(answers.filter(({ status }) => status === 409).map(({ body }) => body.code))).toEqual(
      new Set(['already_exists']),
    )
    expect(await shop.asOwner(sql`select count(*)::integer as n from freehold.tenant`)).toEqual([{ n: 1 }])
  })
})

describe('a tenant of another deployment', () => {
  it('is not taken by accident: whose it is, and what it takes, is said', async () => {
    const { shop, name } = await orphaned('refused-orphan', nameFor())
    expect((await refused(shop.url)).detail).toBe(
      `The database holds the tenant ${name} of another deployment, with 1 users: send take_over to take it from there, whose keys and sessions end.`,
    )
  })

  it('is taken over with its people and passwords, under a new name; nothing that the other deployment holds works', async () => {
    const { shop, then, session, id } = await orphaned('refused-taken', nameFor())
    const name = nameFor()
    const given = await adopt(name, shop.url, { take_over: true })
    expect([given.status, given.body.errors]).toEqual([
      400,
      [{ pointer: '#/admin_password', detail: 'must be left out: the user is in the database already, and keeps the password' }],
    ])
    const { status, body } = await adopt(name, shop.url, { take_over: true, admin_password: undefined })
    expect([status, body.id, body.initial_admin], JSON.stringify(body)).toEqual([
      201,
      id,
      { email: ADMIN.email, must_change_password: false },
    ])
    const { access_token } = await login(name)
    expect((await call(name, '/api/v1/auth/me', { token: access_token })).body).toMatchObject({
      email: ADMIN.email,
      tenant: name,
    })
    expect((await call(name, '/api/v1/auth/me', { token: session.access_token })).status).toBe(401)
    const refresh = await call(name, '/api/v1/auth/refresh-token', { body: { refresh_token: session.refresh_token } })
    expect(refresh.status).toBe(401)
    for (const url of [then.app_url, then.owner_url])
      expect(await refusalOf(url, sql`select 1`)).toMatch(/password authentication failed/)
    const { app_url } = await databaseOf(name)
    expect(await refusalOf(app_url, sql`select access.begin_login(${id}, ${then.system_key}, 'bo')`)).toMatch(/forbidden/)
    expect(await shop.asOwner(sql`select subdomain, is_active from freehold.tenant`)).toEqual([
      { subdomain: name, is_active: true },
    ])
    const off = await call('', `/platform/v1/tenants/${id}/deactivate`, { method: 'POST', token: await operatorToken() })
    expect(off.status).toBe(200)
    expect(await shop.asOwner(sql`select is_active from freehold.tenant`)).toEqual([{ is_active: false }])
    await eraseTenant(id, name)
    const short = id.replaceAll('-', '').slice(0, 12)
    expect(
      await shop.asOwner(
        sql`select nspname from pg_namespace where nspname in ('freehold', 'access') union all select rolname from pg_roles where rolname like ${`%${short}%`}`,
      ),
    ).toEqual([])
  })
})

it('nobody adopts who may not create tenants: no database is asked for them', async () => {
  const connection_string = 'postgresql://a:b@ep-a.us-east-2.aws.neon.tech/c'
  const body = { ...wanted(nameFor()), connection_string }
  expect((await call('', '/platform/v1/tenants/adopt', { body })).body.code).toBe('token_missing')
  expect((await call('', '/platform/v1/tenants/adopt', { body, token: 'x' })).body.code).toBe('token_invalid')
})
