/** Threat: an origin in the settings lets in pages that the administrator did not mean, another tenant's, or ones that operators forbid. */
import { sql } from 'drizzle-orm'
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { master } from '../support/databases.ts'
import { inside } from '../support/inside.ts'
import { expectForeign as foreign, later, patchOrigins, preflight, setOrigins } from '../support/pages.ts'
import { call, operatorToken } from '../support/people.ts'
import { expectProblem, pointers } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

const AT = 'chosen'
const APP = 'https://app.chosen.test'
let admin: string
let operator: string
let id: string

beforeAll(async () => {
  operator = await operatorToken()
  ;[{ id }] = await Promise.all([copyTenant(AT), copyTenant('chosen-next')])
  admin = await tokenOf(AT)
  await set([APP])
})
afterEach(() => void vi.useRealTimers())

const patch = (origins: unknown) => patchOrigins(AT, admin, origins)
const set = (origins: string[]) => setOrigins(AT, admin, origins)
const ask = (origin: string) => preflight(origin, AT)
const expectForeign = (origin: string) => foreign(origin, AT)
const allow = (config: object) => call('', `/platform/v1/tenants/${id}`, { method: 'PATCH', token: operator, body: { config } })

describe('origins', () => {
  it('are written as browsers write them', async () => {
    const answer = await patch([
      'HTTPS://App.Example.COM:443',
      'http://localhost:5173',
      'http://127.0.0.1:80',
      'http://[::1]:3000',
      'https://host.test:8443',
    ])
    expect([answer.status, answer.body.origins]).toEqual([
      200,
      ['https://app.example.com', 'http://localhost:5173', 'http://127.0.0.1', 'http://[::1]:3000', 'https://host.test:8443'],
    ])
    await set([APP])
  })

  const long = `https://${'a.'.repeat(124)}test`
  it.each<[string, unknown, string]>([
    ['without TLS', [APP, 'http://app.chosen.test'], '#/origins/1'],
    ['with a path', [APP, 'https://b.test', 'https://app.chosen.test/x'], '#/origins/2'],
    ['with a slash', ['https://app.chosen.test/'], '#/origins/0'],
    ['with a query', ['https://app.chosen.test?x'], '#/origins/0'],
    ['with a fragment', ['https://app.chosen.test#x'], '#/origins/0'],
    ['with a person', ['https://a@app.chosen.test'], '#/origins/0'],
    ['that is a pattern', ['*'], '#/origins/0'],
    ['that is a pattern of hosts', ['https://*.chosen.test'], '#/origins/0'],
    ['that is a pattern of ports', ['https://app.chosen.test:*'], '#/origins/0'],
    ['that is none', ['null'], '#/origins/0'],
    ['that is empty', [''], '#/origins/0'],
    ['of another scheme', ['capacitor://localhost'], '#/origins/0'],
    ['with a look-alike letter', ['https://аpp.chosen.test'], '#/origins/0'],
    ['with a port that is none', ['https://app.chosen.test:99999'], '#/origins/0'],
    ['that looks local', ['http://localhost.evil.test'], '#/origins/0'],
    ['over-long', [`${long}.test`], '#/origins/0'],
    ['that is a number', [7], '#/origins/0'],
    ['that is null', [null], '#/origins/0'],
    ['twice', [APP, 'https://b.test', 'https://APP.chosen.test:443'], '#/origins/2'],
    ['one too many', Array.from({ length: 51 }, (_, i) => `https://a${i}.test`), '#/origins'],
    ['as text', APP, '#/origins'],
    ['on another tenant’s host', ['https://chosen-next.freehold.test'], '#/origins/0'],
    ['on another tenant’s host with a port', [APP, 'https://chosen-next.freehold.test:8443'], '#/origins/1'],
    ['on another tenant’s host of localhost', ['http://chosen-next.localhost:5173'], '#/origins/0'],
    ['that a later tenant may have', ['https://later.freehold.test'], '#/origins/0'],
    ['below its own host', ['https://app.chosen.freehold.test'], '#/origins/0'],
  ])('may not have one %s', async (_, origins, place) => {
    const answer = await patch(origins)
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual([place])
    expect((await call(AT, '/api/v1/settings', { token: admin })).body.origins).toEqual([APP])
  })

  it('are fifty at most, of 255 characters, and all of them count', async () => {
    const all = Array.from({ length: 50 }, (_, i) => `https://a${i}.${'b'.repeat(60)}.${'c'.repeat(60)}.${'d'.repeat(60)}.test`)
    await set(all)
    later()
    expect((await ask(all[49] ?? '')).status).toBe(204)
    await set([APP])
  })

  it('may lie on the own host, and on names that no tenant is given', async () => {
    const own = ['https://chosen.freehold.test:8443', 'http://chosen.localhost:5173', 'https://app.freehold.test']
    await set(own)
    later()
    for (const origin of own) expect((await ask(origin)).status, origin).toBe(204)
    await set([APP])
  })

  it('twenty lists at once leave one of them, whole', async () => {
    const lists = Array.from({ length: 20 }, (_, n) => [`https://a${n}.test`, `https://b${n}.test`])
    const answers = await Promise.all(lists.map((list) => patch(list)))
    expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200))
    expect(lists).toContainEqual((await call(AT, '/api/v1/settings', { token: admin })).body.origins)
    await set([APP])
  })

  it('are what they are in the database, too: it takes no more than fifty', async () => {
    const realm = await inside(AT)
    const change = realm.asOwner(
      sql`update freehold.tenant set origins = array(select 'https://a' || n from generate_series(1, 51) n)`,
    )
    await expect(change).rejects.toThrow()
  })
})

describe('operators', () => {
  it('say within what an administrator chooses: a change is refused by name, and what is there no longer counts', async () => {
    expect((await allow({ origin_patterns: ['https://*.inside.test', 'http://localhost:*'] })).status).toBe(200)
    later(10_001)
    await expectForeign(APP)
    const refused = await patch(['https://a.inside.test', APP])
    expectProblem(refused, 400, 'invalid_request')
    expect(refused.body.errors).toEqual([
      {
        pointer: '#/origins/1',
        detail: 'is outside of what the operators of this service allow: https://*.inside.test, http://localhost:*',
      },
    ])
    const good = ['https://a.inside.test', 'https://a.b.inside.test', 'http://localhost:5173', 'http://localhost']
    await set(good)
    later()
    for (const origin of good) expect((await ask(origin)).status, origin).toBe(204)
    for (const origin of [
      'https://inside.test',
      'https://evilinside.test',
      'https://a.inside.test.evil.test',
      'https://a.inside.test:8443',
      'http://a.inside.test',
      'http://localhost.test:5173',
    ]) {
      expectProblem(await patch([origin]), 400, 'invalid_request')
      await expectForeign(origin)
    }
    expect((await allow({ origin_patterns: null })).status).toBe(200)
    later(10_001)
    await set([APP])
  })

  it('may allow none at all, and go on to list origins of their own', async () => {
    expect((await allow({ origin_patterns: [], origins: ['https://given.test'] })).status).toBe(200)
    later(10_001)
    await expectForeign(APP)
    expect((await ask('https://given.test')).status).toBe(204)
    expectProblem(await patch([APP]), 400, 'invalid_request')
    expect((await allow({ origin_patterns: null, origins: null })).status).toBe(200)
    later(10_001)
    expect((await ask(APP)).status).toBe(204)
  })

  it.each<[string, unknown, string]>([
    ['with a path', ['https://*.example.com/x'], '#/config/origin_patterns/0'],
    ['with a star in the middle', ['https://a.*.example.com'], '#/config/origin_patterns/0'],
    ['with a star within a label', ['https://a*.example.com'], '#/config/origin_patterns/0'],
    ['that is a star', ['*'], '#/config/origin_patterns/0'],
    ['in upper case', ['https://*.Example.com'], '#/config/origin_patterns/0'],
    ['with a default port', ['https://*.example.com:443'], '#/config/origin_patterns/0'],
    ['as text', 'https://*.a.b', '#/config/origin_patterns'],
    ['one too many', Array.from({ length: 21 }, (_, i) => `https://*.a${i}.test`), '#/config/origin_patterns'],
  ])('may not note a pattern %s', async (_, origin_patterns, place) => {
    const answer = await allow({ origin_patterns })
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual([place])
  })

  it('what was noted under that name before is no pattern', async () => {
    await master(sql`update platform.tenants set config = config || '{"origin_patterns": "of the house"}' where id = ${id}`)
    await allow({ house: 1 })
    later(10_001)
    expect((await ask(APP)).status).toBe(204)
    await allow({ origin_patterns: null, house: null })
  })
})
