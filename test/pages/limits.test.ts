/** The limits of production hold for pages as for the API, because both count under one name. */
import { beforeAll, expect, it } from 'vitest'
import { addPerson, inside } from '../support/inside.ts'
import { originOf } from '../support/jar.ts'
import { askWith, limiters, limitOf, many, newAddress } from '../support/limiters.ts'
import { ADMIN } from '../support/people.ts'
import { copyTenant } from '../support/tenants.ts'
import { hiddenIn, newVisitor } from '../support/visitors.ts'

const AT = 'pages-limits'

/** At most how often a person is guessed at here, who is locked out at the fifth; most are people, whose hashes are cheap. */
const EACH = 2
const guessed = (n: number) => (n % 10 ? `guessed-${Math.floor(n / EACH)}` : `nobody-${n}@acme.test`)

beforeAll(async () => {
  await copyTenant(AT)
  const realm = await inside(AT)
  await many(Math.ceil(limitOf('FAILURES') / EACH), (i) => addPerson(realm, `guessed-${i}`))
})

/** A form as a browser sends it, from an address, with these counters. */
async function sender(bindings: object, address: string) {
  const visitor = newVisitor(AT)
  const form = hiddenIn((await visitor.ask('/login')).html, '/login')
  const headers = {
    Origin: originOf(AT),
    Cookie: [...visitor.kept].map((pair) => pair.join('=')).join('; '),
    'Content-Type': 'application/x-www-form-urlencoded',
    'CF-Connecting-IP': address,
  }
  return (fields: Record<string, string>) =>
    askWith(bindings, `${originOf(AT)}/login`, {
      method: 'POST',
      headers,
      body: new URLSearchParams({ ...form, ...fields }).toString(),
    })
}

it('failed logins of a network on pages and in the API count together, and beyond the limit a page says to wait', async () => {
  const [bindings, address] = [limiters(), newAddress()]
  const send = await sender(bindings, address)
  const most = limitOf('FAILURES')
  const ofPages = await many(most / 2, (i) => send({ username: guessed(i), password: 'wrong-wrong-wrong' }))
  expect(new Set(ofPages.map(({ status }) => status))).toEqual(new Set([401]))
  const body = (i: number) => JSON.stringify({ username: guessed(most / 2 + i), password: 'wrong-wrong-wrong' })
  const headers = { 'Content-Type': 'application/json', 'CF-Connecting-IP': address }
  const login = `${originOf(AT)}/api/v1/auth/login`
  const ofApi = await many(most / 2, (i) => askWith(bindings, login, { method: 'POST', headers, body: body(i) }))
  expect(new Set(ofApi.map(({ status }) => status))).toEqual(new Set([401]))
  const beyond = await send({ username: 'one-more@acme.test', password: 'wrong-wrong-wrong' })
  expect([beyond.status, beyond.headers.get('Content-Type')]).toEqual([429, 'text/html; charset=utf-8'])
  expect(Number(beyond.headers.get('Retry-After'))).toBeGreaterThan(0)
  const right = await send({ username: ADMIN.email, password: ADMIN.password })
  expect([right.status, right.read, right.trips]).toEqual([429, false, 0])
  const other = await sender(bindings, newAddress())
  expect((await other({ username: ADMIN.email, password: ADMIN.password })).status).toBe(303)
})
