/**
 * A tenant in a database that is somebody else's. Threat: Freehold touches or locks out what is there, leaves something of itself behind, or
 * tells somebody the connection string, which opens all that its owner has.
 */
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { expect, it, vi } from 'vitest'
import { eraseStale } from '../../src/tenants/lifecycle/erasure.ts'
import { atDatabase, databaseOf, refusalOf, settings } from '../support/databases.ts'
import { ADMIN, call, login, operatorToken } from '../support/people.ts'
import {
  adopt,
  beside,
  eraseTenant,
  fillShop,
  type Stranger,
  shopOf,
  strangersDatabase,
  strangersLogin,
} from '../support/stranger.ts'

it('is made in an empty database, whose name, host and region are its own', async () => {
  const shop = await strangersDatabase('adopt-empty')
  const { status, body } = await adopt('adopt-empty', shop.url)
  expect(
    [status, body.isolation, body.status, body.database_name, body.region, body.database_error],
    JSON.stringify(body),
  ).toEqual([201, 'external', 'active', 'shop_adopt_empty', 'aws-us-east-2', null])
  const { access_token } = await login('adopt-empty')
  expect((await call('adopt-empty', '/api/v1/auth/me', { token: access_token })).body).toMatchObject({ email: ADMIN.email })
  expect(new URL((await databaseOf('adopt-empty')).app_url).hostname).toBe(shop.host)
})

it('beside what a stranger has leaves all of it as it was, while it is there and when it is erased', async () => {
  const shop: Stranger = await strangersDatabase('adopt-beside')
  const reader = await strangersLogin(shop, 'adopt_reader')
  await fillShop(shop, 'adopt_reader')
  const before = await shopOf(shop)
  const { body, status } = await adopt('adopt-beside', shop.url)
  expect(status, JSON.stringify(body)).toBe(201)
  const beside = (lines: string[]) => lines.filter((line) => !line.startsWith('may '))
  expect(beside(await shopOf(shop))).toEqual(beside(before))
  expect(await refusalOf(reader, sql`select count(*) from shop.orders`)).toBe('none')
  expect(await refusalOf(reader, sql`create temporary table mine (id integer)`)).toBe('none')
  for (const of_ours of ['freehold.users', 'freehold.tenant', 'access.secrets'])
    expect(await refusalOf(reader, sql.raw(`select * from ${of_ours}`)), of_ours).toMatch(/^42501 /)
  const { app_url, owner_url } = await databaseOf('adopt-beside')
  for (const ours of [app_url, owner_url]) {
    expect(await refusalOf(ours, sql`select * from shop.orders`)).toMatch(/^42501 /)
    expect(await refusalOf(ours, sql`create table public.planted (id integer)`)).toMatch(/^42501 /)
  }
  await login('adopt-beside')
  await eraseTenant(body.id, 'adopt-beside')
  expect(await shopOf(shop)).toEqual(before)
  expect(await shop.asOwner(sql`select nspname from pg_namespace where nspname in ('freehold', 'access')`)).toEqual([])
  const short = body.id.replaceAll('-', '').slice(0, 12)
  expect(await shop.asOwner(sql`select rolname from pg_roles where rolname like ${`%${short}%`}`)).toEqual([])
  expect(await refusalOf(reader, sql`select count(*) from shop.orders`)).toBe('none')
})

it('in which something of the stranger’s depends on Freehold is not erased over it: what it is, is said', async () => {
  const shop = await strangersDatabase('adopt-used')
  const { body } = await adopt('adopt-used', shop.url)
  await shop.asOwner(sql`create schema shop`, sql`create view shop.people as select id, email from freehold.users`)
  const token = await operatorToken()
  await call('', `/platform/v1/tenants/${body.id}?hard=true&confirm=adopt-used`, { method: 'DELETE', token })
  const show = async () => (await call('', `/platform/v1/tenants/${body.id}`, { token })).body
  await vi.waitUntil(async () => (await show()).database_error !== null, { timeout: 60_000, interval: 50 })
  const { status, database_error } = await show()
  expect(status).toBe('erasing')
  expect(database_error).toMatch(
    /^Something in the database depends on Freehold’s schemas: .*relation shop\.people.*\. Drop it first\.$/,
  )
  expect(await shop.asOwner(sql`select count(*)::integer as n from shop.people`)).toEqual([{ n: 1 }])
  await shop.asOwner(sql`drop view shop.people`)
  await vi.waitUntil(
    async () => {
      await eraseStale(env as never, settings())
      return (await show()).status === 404
    },
    { timeout: 60_000, interval: 100 },
  )
})

it('of two in one cluster enters the database of the other with neither of its logins', async () => {
  const first = await strangersDatabase('adopt-first')
  const second = await beside(first, 'shop_adopt_second')
  for (const [name, url] of [
    ['adopt-first', first.url],
    ['adopt-second', second],
  ] as const)
    expect((await adopt(name, url)).status, name).toBe(201)
  const [one, other] = await Promise.all(['adopt-first', 'adopt-second'].map(databaseOf))
  expect(new URL(String(one?.app_url)).hostname).toBe(new URL(String(other?.app_url)).hostname)
  for (const [own, there] of [
    [one, other],
    [other, one],
  ] as const)
    for (const url of [own?.app_url, own?.owner_url])
      expect(await refusalOf(atDatabase(String(url), String(there?.name)), sql`select 1`)).toMatch(
        /permission denied for database/,
      )
})

it('whose logins could enter the next tenant’s database does not become active: the proof tries it', async () => {
  const first = await strangersDatabase('adopt-proven')
  const second = await beside(first, 'shop_adopt_proven_next')
  expect((await adopt('adopt-proven', first.url)).status).toBe(201)
  await first.asOwner(sql`grant connect on database shop_adopt_proven to public`)
  const { status, body } = await adopt('adopt-proven-next', second, {}, {}, undefined, '')
  expect(status).toBe(202)
  const token = await operatorToken()
  const proof = async () => {
    const { data } = (await call('', `/platform/v1/tenants/${body.id}/provisioning`, { token })).body
    return data.find(({ name }: any) => name === 'prove')
  }
  await vi.waitUntil(async () => (await proof()).error !== null, { timeout: 60_000, interval: 100 })
  expect((await proof()).error).toMatch(/^The (app|owner) login can connect to the database shop_adopt_proven\.$/)
  expect((await call('', `/platform/v1/tenants/${body.id}`, { token })).body.status).not.toBe('active')
})
