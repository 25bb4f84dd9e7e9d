/**
 * A tenant in a database that is somebody else's. Threat: Freehold touches or locks out what is there, leaves something of itself behind, or
 * tells somebody the connection string, which opens all that its owner has.
 */
import { sql } from 'drizzle-orm'
import { expect, it } from 'vitest'
import { databaseOf, refusalOf } from '../support/databases.ts'
import { ADMIN, call, login } from '../support/people.ts'
import { adopt, eraseTenant, fillShop, type Stranger, shopOf, strangersDatabase, strangersLogin } from '../support/stranger.ts'

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
