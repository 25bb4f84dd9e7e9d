/** What a caller has already is not sent again, and whoever may not read it is not told that they have it. */
import { beforeAll, describe, expect, it } from 'vitest'
import { addPerson, inside } from '../support/inside.ts'
import { knock } from '../support/knock.ts'
import { call } from '../support/people.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

const AT = 'http://unmodified.freehold.test'
let token: string
let stranger: string
let path: string
let tag: string

beforeAll(async () => {
  await copyTenant('unmodified')
  const realm = await inside('unmodified')
  const cy = await addPerson(realm, 'cy')
  await addPerson(realm, 'dan')
  token = await tokenOf(realm)
  stranger = await tokenOf(realm, 'dan')
  path = `/api/v1/users/${cy.id}`
  tag = String((await call('unmodified', path, { token })).headers.get('ETag'))
  expect(tag).toMatch(/^"\S+"$/)
})

const ask = (given: string, more: { method?: string; token?: string } = {}) =>
  knock(`${AT}${path}`, {
    method: more.method ?? 'GET',
    headers: { Authorization: `Bearer ${more.token ?? token}`, 'If-None-Match': given },
  })

describe('If-None-Match', () => {
  it.each<[string, () => string]>([
    ['the tag', () => tag],
    ['the tag as a proxy weakens it', () => `W/${tag}`],
    ['the tag among others', () => `"other", W/"another", ${tag}`],
    ['anything', () => '*'],
  ])('with %s is answered with 304, the tag and no body', async (_, given) => {
    for (const method of ['GET', 'HEAD']) {
      const { status, headers, text } = await ask(given(), { method })
      expect({ status, text, tag: headers.get('ETag') }).toEqual({ status: 304, text: '', tag })
      expect(headers.get('Cache-Control')).toBe('no-store, no-transform')
      expect(headers.get('X-Trace-Id')).toMatch(/^[0-9a-f]{32}$/)
      expect(headers.get('Content-Type')).toBeNull()
    }
  })

  it.each(['"other"', '', 'unquoted', 'x'.repeat(10_000)])('with something else is answered in full', async (given) => {
    expect(await ask(given)).toMatchObject({ status: 200, body: { username: 'cy' } })
  })

  it('tells whoever may not read it nothing', async () => {
    const refused = await ask('*', { token: stranger })
    expect([403, 404]).toContain(refused.status)
    expect((await ask(tag, { token: 'a.b.c' })).status).toBe(401)
  })

  it('with the tag of before is answered in full after a change', async () => {
    const changed = await call('unmodified', path, {
      token,
      method: 'PATCH',
      body: { given_name: 'Cyan' },
      headers: { 'If-Match': tag },
    })
    expect(changed.status).toBe(200)
    const { status, headers } = await ask(tag)
    expect(status).toBe(200)
    expect(headers.get('ETag')).not.toBe(tag)
  })
})

describe('of limits', () => {
  it('the answer tells which a request counted for: those of the user, or of the network', async () => {
    const own = await knock(`${AT}/api/v1/auth/whoami`, { headers: { Authorization: `Bearer ${token}` } })
    expect(own.headers.get('RateLimit-Policy')).toMatch(/^"requests";q=\d+;w=60$/)
    expect(own.headers.get('RateLimit')).toBeNull()
    const body = JSON.stringify({ username: 'nobody', password: 'Violet-Anchor-38' })
    const failed = await knock(`${AT}/api/v1/auth/login`, {
      method: 'POST',
      body,
      headers: { 'Content-Type': 'application/json' },
    })
    expect(failed.status).toBe(401)
    expect(failed.headers.get('RateLimit-Policy')).toMatch(/^"failures";q=\d+;w=60, "attempts";q=\d+;w=60$/)
  })
})

it('the version is told to anybody, on either plane', async () => {
  for (const at of ['', 'unmodified'])
    expect((await call(at, '/version')).body).toEqual({ version: expect.stringMatching(/^\d+\.\d+\.\d+$/) })
})
