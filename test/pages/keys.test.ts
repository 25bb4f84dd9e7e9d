/** The API keys of an account on its page, in workerd. */
import { beforeAll, expect, it } from 'vitest'
import { addPerson, inside } from '../support/inside.ts'
import { ADMIN, call } from '../support/people.ts'
import { copyTenant } from '../support/tenants.ts'
import { hiddenIn, newVisitor, tagIn, textOf, type Visitor } from '../support/visitors.ts'

const AT = 'pages-keys'
const KEYS = '/account/api-keys'
const REVOKE = '/account/api-keys/revoke'
const ROTATE = '/account/api-keys/rotate'
let visitor: Visitor

beforeAll(async () => {
  await copyTenant(AT)
  visitor = newVisitor(AT)
  await visitor.logIn(ADMIN.email, ADMIN.password)
})

const keyIn = (html: string) => /fh_[\w-]{20,}/.exec(textOf(html))?.[0]
const WANTED = { name: 'Nightly report', permissions: 'user:read', expires: '30' }

it('a key is shown once, in an answer that no cache keeps; the form sent twice makes one key', async () => {
  const page = await visitor.ask(KEYS)
  expect([page.status, textOf(page.html).includes('You have no API keys.')]).toEqual([200, true])
  const form = { ...hiddenIn(page.html, KEYS), ...WANTED }
  const made = await visitor.ask(KEYS, { form })
  const key = keyIn(made.html)
  expect([made.status, made.headers.get('Cache-Control'), made.trips <= 2]).toEqual([200, 'no-store', true])
  expect((await call(AT, '/api/v1/auth/whoami', { headers: { 'X-API-Key': key ?? '' } })).body.api_key.name).toBe(WANTED.name)
  const twice = await visitor.ask(KEYS, { form })
  expect([twice.status, keyIn(twice.html)]).toEqual([200, key])
  const other = await visitor.ask(KEYS, { form: { ...form, name: 'Another' } })
  expect([other.status, textOf(other.html).includes('sent before with something else')]).toEqual([422, true])
  const shown = await visitor.ask(KEYS)
  expect(shown.html.match(/action="\/account\/api-keys\/revoke"/g)).toHaveLength(1)
  expect(shown.html).not.toContain(key)
})

it('twenty forms at once make one key', async () => {
  const form = { ...hiddenIn((await visitor.ask(KEYS)).html, KEYS), ...WANTED, name: 'At once' }
  const made = await Promise.all(Array.from({ length: 20 }, () => visitor.ask(KEYS, { form })))
  expect(new Set(made.map(({ html }) => keyIn(html)).filter(Boolean)).size).toBe(1)
  expect(textOf((await visitor.ask(KEYS)).html).match(/At once/g)).toHaveLength(1)
})

it('is refused at its field: no name, no permission, one that is not held or is none, another time', async () => {
  const form = hiddenIn((await visitor.ask(KEYS)).html, KEYS)
  for (const [more, field] of [
    [{ name: '' }, 'name'],
    [{ name: 'x'.repeat(101) }, 'name'],
    [{ permissions: '' }, 'permissions'],
    [{ permissions: 'no such' }, 'permissions'],
  ] as const) {
    const shown = await visitor.ask(KEYS, { form: { ...form, ...WANTED, ...more } })
    expect([field, shown.status, shown.html.includes(`id="${field}-wrong"`)]).toEqual([field, 400, true])
  }
  const unknown = await visitor.ask(KEYS, { form: { ...form, ...WANTED, permissions: 'cake:eat' } })
  expect(unknown.status).toBe(400)
  expect((await visitor.ask(KEYS, { form: { ...form, ...WANTED, expires: '12' } })).status).toBe(400)
})

it('is revoked, and the second time the page says that it was before; nobody revokes that of somebody else', async () => {
  const { html } = await visitor.ask(KEYS)
  const form = hiddenIn(html, REVOKE)
  const cy = await addPerson(await inside(AT), 'cy')
  const stranger = newVisitor(AT)
  await stranger.logIn(cy.email, cy.password)
  const own = hiddenIn((await stranger.ask(KEYS)).html, KEYS)
  const made = await stranger.ask(KEYS, { form: { ...own, ...WANTED } })
  expect([made.status, tagIn(made.html, 'code')]).toMatchObject([200, { class: 'code' }])
  const theirs = hiddenIn((await stranger.ask(KEYS)).html, REVOKE)
  const guess = await stranger.ask(REVOKE, { form: { ...theirs, id: form.id ?? '' } })
  expect(guess.location).toBe(`${KEYS}?said=key_was_revoked`)
  expect((await visitor.ask(KEYS)).html).toContain(form.id)
  expect((await visitor.ask(REVOKE, { form })).location).toBe(`${KEYS}?said=key_revoked`)
  const twice = await visitor.ask(REVOKE, { form })
  expect(twice.location).toBe(`${KEYS}?said=key_was_revoked`)
  expect((await visitor.ask(KEYS)).html).not.toContain(form.id)
})

it('is made for addresses, which the page shows, and which must be ones', async () => {
  const form = { ...hiddenIn((await visitor.ask(KEYS)).html, KEYS), ...WANTED, name: 'From here' }
  const wrong = await visitor.ask(KEYS, { form: { ...form, addresses: 'here, 192.0.2.0/24' } })
  expect([wrong.status, tagIn(wrong.html, 'input', { name: 'addresses' })]).toMatchObject([
    400,
    { 'aria-invalid': 'true', value: 'here, 192.0.2.0/24' },
  ])
  const impossible = await visitor.ask(KEYS, { form: { ...form, addresses: '192.0.2.0/99' } })
  expect([impossible.status, impossible.html.includes('id="addresses-wrong"')]).toEqual([400, true])
  const made = await visitor.ask(KEYS, { form: { ...form, addresses: '192.0.2.0/24, 2001:db8::/32' } })
  expect(made.status).toBe(200)
  expect(textOf((await visitor.ask(KEYS)).html)).toContain('Only from 192.0.2.0/24, 2001:db8::/32')
  const away = { 'X-API-Key': keyIn(made.html) ?? '', 'CF-Connecting-IP': '203.0.113.9' }
  expect((await call(AT, '/api/v1/auth/whoami', { headers: away })).status).toBe(403)
})

it('is rotated once: its successor is shown once, sent twice it is the same, and both work meanwhile', async () => {
  const page = await visitor.ask(KEYS)
  const made = await visitor.ask(KEYS, { form: { ...hiddenIn(page.html, KEYS), ...WANTED, name: 'Turning' } })
  const before = keyIn(made.html) ?? ''
  const list = await visitor.ask(KEYS)
  const form = hiddenIn(list.html, ROTATE)
  const rotated = await visitor.ask(ROTATE, { form })
  const key = keyIn(rotated.html) ?? ''
  expect([rotated.status, key === before, textOf(rotated.html).includes('works for another hour')]).toEqual([200, false, true])
  const all = await Promise.all(Array.from({ length: 20 }, () => visitor.ask(ROTATE, { form, at_once: true })))
  expect(new Set(all.map(({ html }) => keyIn(html)).filter(Boolean))).toEqual(new Set([key]))
  for (const one of [before, key])
    expect((await call(AT, '/api/v1/auth/whoami', { headers: { 'X-API-Key': one } })).body.api_key.name).toBe('Turning')
  const late = await visitor.ask(ROTATE, { form: { ...form, once: 'n'.repeat(43) } })
  expect([late.status, textOf(late.html).includes('was done before')]).toEqual([409, true])
  const gone = await visitor.ask(ROTATE, { form: { ...form, once: 'm'.repeat(43), id: crypto.randomUUID() } })
  expect(gone.location).toBe(`${KEYS}?said=key_was_revoked`)
})
