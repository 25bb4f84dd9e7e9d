/**
 * Threat: a connection string makes the Worker send a password, or any request, to a host that nobody meant; and what is refused is
 * refused in words that help nobody, or that hold the password.
 */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { readConnectionString } from '../../src/tenants/adoption/connection-string.ts'
import { atDatabase, databaseOf, master, settings } from '../support/databases.ts'
import { call, makeTenant, operatorToken, wanted } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { adopt, type Stranger, strangersDatabase } from '../support/stranger.ts'

const SECRET = 'Hunter-2-in-clear'
const HOST = 'ep-calm-sea-a1b2c3d4.eu-central-1.aws.neon.tech'
const string = (host: string, rest = '') => `postgresql://owner:${SECRET}@${host}/shop${rest}`

let n = 0
/** The one sentence about a connection string that is refused before anything is made. */
async function refusedFor(text: string, settings?: Record<string, string>): Promise<string> {
  const name = `strings-${++n}`
  const answer = await adopt(name, text, {}, settings)
  expectProblem(answer, 400, 'invalid_request')
  expect(JSON.stringify(answer.body)).not.toContain(SECRET)
  expect(await master(sql`select id from platform.tenants where subdomain = ${name}`)).toEqual([])
  expect(answer.body.errors).toHaveLength(1)
  expect(answer.body.errors[0].pointer).toBe('#/connection_string')
  return answer.body.errors[0].detail
}

let shop: Stranger
beforeAll(async () => {
  shop = await strangersDatabase('strings')
})

it.each([
  '',
  'shop',
  `https://owner:${SECRET}@${HOST}/shop`,
  `postgresql://owner@${HOST}/shop`,
  `postgresql://:${SECRET}@${HOST}/shop`,
  `postgresql://owner:${SECRET}@${HOST}`,
  `postgresql://owner:${SECRET}@${HOST}/`,
  `postgresql://owner:${SECRET}@${HOST}/a/b`,
  `postgresql://owner:${SECRET}%ZZ@${HOST}/shop`,
  `postgresql://owner:${SECRET}@${HOST}/${'x'.repeat(64)}`,
  `host=${HOST} user=owner password=${SECRET} dbname=shop`,
])('a text that is no connection string is refused: %s', async (text) => {
  expect(await refusedFor(text)).toBe('must be a connection string of Postgres, with user, password, host and database')
})

it.each([
  ['a loopback address', '127.0.0.1'],
  ['a private address', '10.0.0.7'],
  ['the address of the metadata of a cloud', '169.254.169.254'],
  ['an address as a number', '2130706433'],
  ['an address of IPv6', '[::1]'],
  ['the machine itself', 'localhost'],
  ['a name inside of a network', 'metadata.google.internal'],
  ['a name with a dot at its end', `${HOST}.`],
  ['the domain itself', 'neon.tech'],
  ['a domain that ends the same', 'ep-a.evilneon.tech'],
  ['a domain below another', `${HOST}.example.com`],
  ['two hosts', `${HOST},10.0.0.7`],
  ['a label with a sign', 'ep_a.aws.neon.tech'],
])('%s is refused before anything is asked', async (_, host) => {
  const detail = await refusedFor(string(host))
  expect(detail).toMatch(
    /^names the host .* which is not below neon\.tech: EXTERNAL_HOSTS has the domains|^must be a connection string/,
  )
})

it('a domain that EXTERNAL_HOSTS names is asked, at its own hosts alone', async () => {
  const EXTERNAL_HOSTS = 'neon.tech,neon.corp.internal'
  expect(await refusedFor(string('ep-a.neon.corp.internal'), { EXTERNAL_HOSTS })).toMatch(
    /^is not accepted at ep-a\.neon\.corp\.internal/,
  )
  expect(await refusedFor(string('ep-a.corp.internal'), { EXTERNAL_HOSTS })).toMatch(/^names the host/)
})

describe('a connection string', () => {
  const read = (text: string, ENVIRONMENT: 'local' | 'production' = 'production') =>
    readConnectionString({ ENVIRONMENT, EXTERNAL_HOSTS: ['neon.tech'] }, text)
  const faults = (work: () => unknown) => {
    try {
      work()
    } catch (error: any) {
      return error.errors[0].detail
    }
    return 'none'
  }

  it.each(['disable', 'allow', 'prefer'])('with sslmode=%s is refused, except in the local stack', (mode) => {
    const text = string(HOST, `?sslmode=${mode}`)
    expect(faults(() => read(text))).toBe(`has sslmode=${mode}, which lets the network read the password: use sslmode=require`)
    expect(faults(() => read(text, 'local'))).toBe('none')
  })

  it('with the port of something else is refused', () => {
    expect(faults(() => read(string(`${HOST}:6432`)))).toBe('must have the port 5432, or none, as those of Neon')
    expect(faults(() => read(string(`${HOST}:5432`)))).toBe('none')
  })

  it('is made anew of what was checked: no parameter names another endpoint, and a pooler is the endpoint itself', () => {
    const text = `postgres://owner:p%40ss%2Fw@EP-calm-sea-a1b2c3d4-POOLER.eu-central-1.aws.neon.tech:5432/my%20shop?options=endpoint%3Dep-other&host=10.0.0.1&sslmode=require`
    expect(read(text)).toEqual({
      url: `postgresql://owner:p%40ss%2Fw@${HOST}/my%20shop?sslmode=require`,
      host: HOST,
      database: 'my shop',
      user: 'owner',
      address: `${HOST}/my shop`,
      region: 'aws-eu-central-1',
    })
  })
})

it('of which the password, the endpoint or the database is another is refused by name', async () => {
  const wrong = Object.assign(new URL(shop.url), { password: SECRET }).href
  expect(await refusedFor(wrong)).toBe(
    `is not accepted at ${shop.host}: the endpoint, the user or the password is not right, or the user may not connect`,
  )
  expect(await refusedFor(Object.assign(new URL(shop.url), { hostname: HOST }).href)).toMatch(`is not accepted at ${HOST}`)
  expect(await refusedFor(atDatabase(shop.url, 'nowhere'))).toBe(`names the database nowhere, which is not at ${shop.host}`)
})

it('a host of this platform’s own is refused, whatever its database: the master’s, a host’s, a tenant’s', async () => {
  await makeTenant('strings-tenant')
  const { host_url, owner_url } = await databaseOf('strings-tenant')
  for (const own of [settings().MASTER_DATABASE_URL, host_url, owner_url, atDatabase(host_url, 'postgres')])
    expect(await refusedFor(own)).toMatch(/^names the host ep-.*, which is this platform’s own: create a tenant there instead$/)
})

it('isolation external is nothing that a tenant is created with, and the refusal says what is', async () => {
  const answer = await call('', '/platform/v1/tenants', {
    token: await operatorToken(),
    body: { ...wanted('strings-created'), isolation: 'external' },
  })
  expectProblem(answer, 400, 'invalid_request')
  expect(answer.body.errors).toEqual([
    { pointer: '#/isolation', detail: 'external is for databases that exist: POST /platform/v1/tenants/adopt' },
  ])
})
