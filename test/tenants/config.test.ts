/** Threat: what operators note of a tenant is lost with a change of something else, or grows until every list of tenants is slow. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { master } from '../support/databases.ts'
import { call, operatorToken, wanted } from '../support/people.ts'
import { plantTenant } from '../support/planted.ts'
import { expectProblem } from '../support/refusal.ts'

let token: string
let id: string
beforeAll(async () => {
  token = await operatorToken()
  id = await plantTenant('noted')
})
const change = (config: unknown, more: Record<string, unknown> = {}) =>
  call('', `/platform/v1/tenants/${id}`, { token, method: 'PATCH', body: { config }, ...more })
const show = async () => (await call('', `/platform/v1/tenants/${id}`, { token })).body.config

describe('the configuration of a tenant', () => {
  it('holds any key beside its origins, as metadata does: what is left out stays, null removes one, null for all removes all', async () => {
    const first = {
      crm_id: 7,
      'billing.tier': 'gold',
      flags: ['a', { b: null }],
      is_vip: true,
      constructor: 'acme',
      origins: ['https://a.test'],
    }
    expect((await change(first)).body.config).toEqual(first)
    expect((await change({ crm_id: 8 })).body.config).toEqual({ ...first, crm_id: 8 })
    expect((await change({ crm_id: null, nothing: null, origins: null })).body.config).toEqual({
      'billing.tier': 'gold',
      flags: ['a', { b: null }],
      is_vip: true,
      constructor: 'acme',
    })
    expect((await change({})).body.config).toEqual(await show())
    expect((await change(null)).body.config).toEqual({})
    expect(await show()).toEqual({})
  })

  it('keeps each of twenty keys that are noted at once', async () => {
    const keys = Array.from({ length: 20 }, (_, i) => `k${i}`)
    const answers = await Promise.all(keys.map((key) => change({ [key]: key })))
    expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200))
    expect(await show()).toEqual(Object.fromEntries(keys.map((key) => [key, key])))
    await change(null)
  })

  it('has 50 keys and 16 KiB, together with what it has: a change that comes to more changes nothing', async () => {
    const keys = (from: number, n: number) => Object.fromEntries(Array.from({ length: n }, (_, i) => [`k${from + i}`, i]))
    expect((await change(keys(0, 50))).status).toBe(200)
    const full = await show()
    for (const config of [keys(50, 1), keys(100, 51)]) {
      const answer = await change(config)
      expectProblem(answer, 400, 'invalid_request')
      expect(answer.body.errors).toEqual([
        { pointer: '#/config', detail: 'must hold at most 50 keys and 16 KiB, with what it holds already' },
      ])
    }
    expect(await show()).toEqual(full)
    expect((await change({ ...keys(0, 1), k1: null, k50: 1 })).status, 'one goes, one comes').toBe(200)
    await change(null)
    for (let i = 0; i < 3; i++) expect((await change({ [`big${i}`]: 'x'.repeat(5_000) })).status).toBe(200)
    expectProblem(await change({ big3: 'x'.repeat(5_000) }), 400, 'invalid_request')
    expectProblem(await change({ big3: 'x'.repeat(17_000) }), 400, 'invalid_request')
    expectProblem(await change({ big3: Array(8_000).fill(1) }), 400, 'invalid_request')
    expect(Object.keys(await show()).sort()).toEqual(['big0', 'big1', 'big2'])
    await change(null)
    // Of twenty at once as many as fit.
    const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => change(keys(i * 10, 10))))
    expect(answers.map(({ status }) => status).sort()).toEqual([...Array(5).fill(200), ...Array(15).fill(400)])
    expect(Object.keys(await show())).toHaveLength(50)
    await change(null)
  })

  it.each<[unknown, string]>([
    [7, '#/config'],
    ['x', '#/config'],
    [['x'], '#/config'],
    [{ '': 1 }, '#/config/'],
    [{ 'a b': 1 }, '#/config/a b'],
    [{ '1a': 1 }, '#/config/1a'],
    [{ ['x'.repeat(41)]: 1 }, `#/config/${'x'.repeat(41)}`],
    [{ origins: ['https://evil.test/path'] }, '#/config/origins/0'],
    [{ origins: 'https://app.test' }, '#/config/origins'],
  ])('is not %j', async (config, pointer) => {
    const answer = await change(config)
    expectProblem(answer, 400, 'invalid_request')
    expect(answer.body.errors[0].pointer).toBe(pointer)
    expect(await show()).toEqual({})
  })

  it.each([
    '{"config":{"__proto__":1}}',
    '{"config":{"a":"\\u0000"}}',
    '{"config":{"a":"\\ud800"}}',
    '{"config":{"a":1e999}}',
    '{"config":{"a":1,"a":2}}',
  ])('is refused where it could not be kept as it was sent: %s', async (raw) => {
    const answer = await call('', `/platform/v1/tenants/${id}`, { token, method: 'PATCH', raw })
    expectProblem(answer, 400, 'invalid_request')
    expect(await show()).toEqual({})
  })

  it('is given to a new tenant with the same bounds', async () => {
    const make = (name: string, config: unknown) => call('', '/platform/v1/tenants', { token, body: wanted(name, { config }) })
    expect((await make('noted-new', { crm_id: 'x', origins: [] })).body.config).toEqual({ crm_id: 'x', origins: [] })
    for (const config of [{ 'a b': 1 }, { a: 'x'.repeat(17_000) }, { a: Array(8_000).fill(1) }, { origins: null }, null])
      expectProblem(await make('noted-never', config), 400, 'invalid_request')
  })

  it('is bounded by the master, whoever writes', async () => {
    const write = (config: object) =>
      master(sql`update platform.tenants set config = ${JSON.stringify(config)}::jsonb where id = ${id}`).then(
        () => 'kept',
        () => 'refused',
      )
    expect(await write(Object.fromEntries(Array.from({ length: 51 }, (_, i) => [`k${i}`, 1])))).toBe('refused')
    expect(await write({ a: 'x'.repeat(16_384) })).toBe('refused')
    expect(await write({})).toBe('kept')
  })
})
