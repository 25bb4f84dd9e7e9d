/** Threat: an operator with a thousand tenants acts on the wrong one, because a list showed fewer or more than was asked for. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { master } from '../support/databases.ts'
import { call, operatorToken } from '../support/people.ts'
import { plantTenant } from '../support/planted.ts'
import { expectProblem } from '../support/refusal.ts'
import { makePlans } from '../support/tenants.ts'

let token: string
const rows = {
  'sieved-a': {
    legal_name: 'Sieved Zeta 100%',
    plan: 'sieve-free',
    environment: 'demo',
    status: 'failed',
    isolation: 'database',
  },
  'sieved-b': {
    legal_name: 'sieved alpha_one',
    plan: 'sieve-gold',
    environment: 'production',
    status: 'failed',
    isolation: 'project',
  },
  'sieved-c': {
    legal_name: 'Sieved Alpha',
    plan: 'sieve-gold',
    environment: 'production',
    status: 'inactive',
    isolation: 'database',
  },
} as const
const names = Object.keys(rows) as (keyof typeof rows)[]

beforeAll(async () => {
  token = await operatorToken()
  await makePlans('sieve-free', 'sieve-gold')
  for (const name of names) {
    const id = await plantTenant(name)
    const { legal_name, plan, environment, status, isolation } = rows[name]
    await master(
      sql`update platform.tenants set legal_name = ${legal_name}, plan = ${plan}, environment = ${environment}, status = ${status}, isolation = ${isolation},
          region = 'aws-sa-east-1', schema_version = 'tenant/sieved' where id = ${id}`,
    )
  }
})

const list = (query: Record<string, string>) => call('', `/platform/v1/tenants?${new URLSearchParams(query)}`, { token })
const found = async (query: Record<string, string>) => {
  const { status, body, trips } = await list({ limit: '100', ...query })
  expect([status, trips], JSON.stringify(body)).toEqual([200, 1])
  return body.data.map(({ subdomain }: { subdomain: string }) => subdomain).filter((name: string) => name.startsWith('sieved-'))
}

describe('a list of tenants', () => {
  it.each<[Record<string, string>, string[]]>([
    [{ plan: 'sieve-gold' }, ['sieved-c', 'sieved-b']],
    [{ plan: 'sieve-gold', status: 'failed' }, ['sieved-b']],
    [{ plan: 'sieve-gold', isolation: 'database' }, ['sieved-c']],
    [{ search: 'sieved', environment: 'demo' }, ['sieved-a']],
    [{ search: 'sieved', region: 'aws-sa-east-1' }, ['sieved-c', 'sieved-b', 'sieved-a']],
    [{ schema_version: 'tenant/sieved', status: 'inactive' }, ['sieved-c']],
    [{ plan: 'sieve' }, []],
  ])('with %j has those alone', async (query, expected) => expect(await found(query)).toEqual(expected))

  it.each<[string, string[]]>([
    ['SIEVED ALPHA', ['sieved-c', 'sieved-b']],
    ['ved-b', ['sieved-b']],
    ['100%', ['sieved-a']],
    ['alpha_', ['sieved-b']],
    ['%', ['sieved-a']],
    ['\\', []],
    ["' or true --", []],
  ])('searched for %j is searched for these characters', async (search, expected) =>
    expect(await found({ search, schema_version: 'tenant/sieved' })).toEqual(expected),
  )

  it('is searched by the tax id', async () => {
    const [row] = await master(sql`select tax_id from platform.tenants where subdomain = 'sieved-a'`)
    expect(await found({ search: String(row?.tax_id) })).toEqual(['sieved-a'])
  })

  it.each<[string, string[]]>([
    ['created_at', ['sieved-a', 'sieved-b', 'sieved-c']],
    ['-created_at', ['sieved-c', 'sieved-b', 'sieved-a']],
    ['subdomain', ['sieved-a', 'sieved-b', 'sieved-c']],
    ['-subdomain', ['sieved-c', 'sieved-b', 'sieved-a']],
    ['legal_name', ['sieved-c', 'sieved-b', 'sieved-a']],
    ['-legal_name', ['sieved-a', 'sieved-b', 'sieved-c']],
  ])('sorted by %s is so over all its pages, each tenant once', async (sort, expected) => {
    const seen: string[] = []
    for (let cursor: string | null = ''; cursor !== null; ) {
      const { status, body } = await list({ search: 'sieved', sort, limit: '1', ...(cursor && { cursor }) })
      expect([status, Object.keys(body.data[0] ?? {}).includes('sort_key')], JSON.stringify(body)).toEqual([200, false])
      seen.push(...body.data.map(({ subdomain }: { subdomain: string }) => subdomain))
      cursor = body.next_cursor
    }
    expect(seen).toEqual(expected)
  })

  it('takes no cursor of another order, filter or search', async () => {
    const { next_cursor: cursor } = (await list({ search: 'sieved', limit: '1' })).body
    expect((await list({ search: 'sieved', limit: '1', cursor })).status).toBe(200)
    for (const other of [
      {},
      { search: 'sieve' },
      { search: 'sieved', sort: 'subdomain' },
      { search: 'sieved', status: 'failed' },
    ])
      expectProblem(await list({ ...other, cursor }), 400, 'invalid_cursor')
  })

  it.each<[Record<string, string>, string]>([
    [{ status: 'asleep' }, 'status'],
    [{ environment: 'staging' }, 'environment'],
    [{ sort: 'tax_id' }, 'sort'],
    [{ plan: '' }, 'plan'],
    [{ search: 'x'.repeat(256) }, 'search'],
    [{ region: 'x'.repeat(101) }, 'region'],
  ])('refuses %j, naming it', async (query, name) => {
    const answer = await list(query)
    expectProblem(answer, 400, 'invalid_request')
    expect(answer.body.errors[0].pointer).toBe(`#/query/${name}`)
  })
})
