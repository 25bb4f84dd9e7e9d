/**
 * Every form with what nobody should send. Threat: a page elsewhere, another browser, another account, a session that has ended or one of
 * another tenant acts through a form; a large or strange one costs work; a form leads away. Each answers with a page that says so.
 */
import { beforeAll, describe, expect, it } from 'vitest'
import { formToken } from '../../src/pages/browser.ts'
import { doors } from '../../src/pages/routes.tsx'
import { addPerson, type Inside, inside, type Person } from '../support/inside.ts'
import { originOf } from '../support/jar.ts'
import { copyTenant } from '../support/tenants.ts'
import { newVisitor, textOf, type Visitor } from '../support/visitors.ts'

const AT = 'pages-bad'
const OTHER = 'pages-bad-other'
let realm: Inside
let cy: Person
let dee: Person
let eli: Person
let somebody: Visitor

/** The path that each form is sent to, and a field of it that can be too long or of another form. */
const FORMS: [string, string, string?][] = [
  ['/login', 'username'],
  ['/login/code', 'code'],
  ['/login/code/resend', 'next'],
  ['/register', 'email'],
  ['/reset-password', 'email'],
  ['/reset-password/confirm', 'token'],
  ['/verify-email', 'token'],
  ['/verify-email/resend', 'email'],
  ['/email-change', 'new_email'],
  ['/email-change/confirm', 'token'],
  ['/account/password', 'new_password'],
  ['/account/api-keys', 'name'],
  ['/account/api-keys/rotate', 'id'],
  ['/account/api-keys/revoke', 'id'],
  ['/account/sessions/end', 'id'],
  ['/account/switch', 'account'],
  ['/account/logout', 'surprise'],
  ['/account/logout-all', 'surprise'],
]
const doorOf = (path: string) => doors.find((door) => door.method === 'POST' && door.path === path)
const OF_SOMEBODY = FORMS.filter(([path]) => doorOf(path)?.session)

beforeAll(async () => {
  await Promise.all([copyTenant(AT), copyTenant(OTHER)])
  realm = await inside(AT)
  cy = await addPerson(realm, 'cy')
  dee = await addPerson(realm, 'dee')
  eli = await addPerson(await inside(OTHER), 'eli')
  somebody = await loggedIn(cy)
})

async function loggedIn(person: Person, at = AT): Promise<Visitor> {
  const visitor = newVisitor(at)
  await visitor.logIn(person.email, person.password)
  return visitor
}

const accountIn = ({ kept }: Visitor) => [...kept.keys()].flatMap((name) => /^__Host-fh_r_(.*)$/.exec(name)?.[1] ?? [])[0] ?? ''

/** What a form of this visitor carries: as the page has it. */
async function tokenFor(visitor: Visitor, path: string, account = accountIn(visitor)): Promise<string> {
  if (!visitor.kept.has('__Host-fh_form')) await visitor.ask('/login?add=1')
  return formToken(visitor.kept.get('__Host-fh_form') ?? '', path, doorOf(path)?.session ? account : null)
}

const isPage = ({ headers }: { headers: Headers }) => headers.get('Content-Type') === 'text/html; charset=utf-8'

describe.each(FORMS)('the form of %s', (path, field) => {
  it('without the token of its page, or with one of another form, browser or account, changes nothing', async () => {
    const stranger = newVisitor(AT)
    await stranger.ask('/login')
    const other = path === '/login' ? '/register' : '/login'
    const tokens = [
      '',
      'x',
      'x'.repeat(10_000),
      await tokenFor(somebody, other),
      await tokenFor(stranger, path, accountIn(somebody)),
    ]
    if (doorOf(path)?.session) tokens.push(await tokenFor(somebody, path, dee.id))
    for (const form of tokens) {
      const shown = await somebody.ask(path, { form: { form } })
      expect([form, shown.status, shown.location, isPage(shown)]).toEqual([form, 403, null, true])
    }
    expect((await somebody.ask('/account')).status).toBe(200)
  })

  it('from a page of another origin is refused before it is read', async () => {
    const form = { form: await tokenFor(somebody, path) }
    for (const Origin of ['', 'null', 'https://elsewhere.test', originOf(OTHER), originOf('')]) {
      const shown = await somebody.ask(path, { form, headers: { Origin } })
      expect([Origin, shown.status, shown.location, shown.trips <= 1, isPage(shown)]).toEqual([Origin, 403, null, true, true])
    }
    expect((await somebody.ask('/account')).status).toBe(200)
  })

  it('that is too large, of another type, not UTF-8, or has what it has not, is refused on a page', async () => {
    const form = await tokenFor(somebody, path)
    const large = await somebody.ask(path, { raw: `${field}=${'x'.repeat(1024 * 1024)}` })
    expect([large.status, isPage(large), textOf(large.html).includes('too much text')]).toEqual([413, true, true])
    for (const type of ['application/json', 'multipart/form-data; boundary=x', 'text/plain'])
      expect((await somebody.ask(path, { raw: '{}', headers: { 'Content-Type': type } })).status, type).toBe(415)
    for (const raw of [
      `form=${form}&${field}=%ff`,
      `form=${form}&surprise=1`,
      `form=${form}&constructor=1`,
      `form=${form}&${field}=a&${field}=b`,
      `form=${form}&${field}=${'x'.repeat(9_000)}`,
      `form=${form}&${field}=%00`,
    ]) {
      const shown = await somebody.ask(path, { raw })
      expect([raw.slice(60, 90), shown.status, shown.location, isPage(shown)]).toEqual([raw.slice(60, 90), 400, null, true])
      expect(textOf(shown.html)).not.toMatch(/select |insert |access\./)
    }
    expect((await somebody.ask('/account')).status).toBe(200)
  })

  it('leads to no other host', async () => {
    for (const next of ['https://elsewhere.test/', '//elsewhere.test', '/\\elsewhere.test', 'javascript:alert(1)']) {
      const shown = await somebody.ask(path, { form: { form: await tokenFor(somebody, path), next } })
      expect([next, shown.status, shown.location]).toEqual([next, 400, null])
      expect(shown.html).not.toContain('elsewhere.')
    }
  })
})

describe.each(OF_SOMEBODY)('the form of %s', (path) => {
  it('of who is not logged in, is so in another tenant, or no longer, leads to the login', async () => {
    const nobody = newVisitor(AT)
    const away = await nobody.ask(path, { form: { form: await tokenFor(nobody, path) } })
    expect([away.status, away.location, away.trips]).toEqual([303, '/login?next=%2Faccount', 0])

    const guest = await loggedIn(eli, OTHER)
    const foreign = newVisitor(AT)
    for (const [name, value] of guest.kept) foreign.kept.set(name, value)
    const refused = await foreign.ask(path, { form: { form: await tokenFor(foreign, path) } })
    expect([refused.status, refused.location]).toEqual([303, '/login?next=%2Faccount&said=ended'])

    const before = await loggedIn(dee)
    const held = new Map(before.kept)
    const form = await tokenFor(before, path)
    await before.send('/account', '/account/logout')
    const ended = newVisitor(AT)
    for (const [name, value] of held) ended.kept.set(name, value)
    const late = await ended.ask(path, { form: { form, ...SENT[path] } })
    expect([late.status, late.location]).toEqual([303, '/login?next=%2Faccount&said=ended'])
    expect([...ended.kept.keys()].some((name) => /fh_[ar]_/.test(name))).toBe(false)
  })
})

const ONCE = 'o'.repeat(43)
/** What makes a form whole, so that it comes to its database. */
const SENT: Record<string, Record<string, string>> = {
  '/email-change': { new_email: 'dee@new.test', current_password: 'Violet-Anchor-38' },
  '/account/password': { current_password: 'Violet-Anchor-38', new_password: 'Second-lantern-garden-4' },
  '/account/api-keys': { name: 'x', permissions: 'user:read', once: ONCE },
  '/account/api-keys/rotate': { id: crypto.randomUUID(), once: ONCE },
  '/account/api-keys/revoke': { id: crypto.randomUUID() },
  '/account/sessions/end': { id: crypto.randomUUID() },
}

describe('a form that is sent twice', () => {
  it.each<[string, string, Record<string, string>, number]>([
    ['/login', '/login', { username: 'bo@acme.test', password: 'Tr0ub4dor-and-3' }, 303],
    ['/reset-password?step=ask', '/reset-password', { email: 'nobody@acme.test' }, 303],
    ['/verify-email', '/verify-email/resend', { email: 'nobody@acme.test' }, 303],
    ['/reset-password', '/reset-password/confirm', { token: 'x'.repeat(32), new_password: 'Second-lantern-garden-4' }, 400],
    ['/verify-email', '/verify-email', { token: 'x'.repeat(32) }, 400],
    ['/email-change', '/email-change/confirm', { token: 'x'.repeat(32) }, 400],
  ])('%s answers the second time as the first', async (page, path, fields, status) => {
    const visitor = newVisitor(AT)
    await visitor.ask(page)
    const form = { form: await tokenFor(visitor, path), ...fields }
    for (const sent of await Promise.all([1, 2].map(() => visitor.ask(path, { form, at_once: true }))))
      expect(sent.status, textOf(sent.html)).toBe(status)
  })

  it('and changes the password the first time, is refused the second, at its field', async () => {
    const fay = await addPerson(realm, 'fay')
    const visitor = await loggedIn(fay)
    const form = {
      form: await tokenFor(visitor, '/account/password'),
      current_password: fay.password,
      new_password: 'Second-lantern-garden-4',
    }
    expect((await visitor.ask('/account/password', { form })).status).toBe(303)
    const twice = await visitor.ask('/account/password', { form })
    expect([twice.status, twice.html.includes('id="current_password-wrong"')]).toEqual([401, true])
  })
})

const PAGES = [
  '/login',
  '/register',
  '/reset-password',
  '/verify-email',
  '/email-change',
  '/account',
  '/account/password',
  '/account/api-keys',
]

describe('a page', () => {
  it.each(PAGES)('%s has 20 KB at most for a user, with its style sheet and its script', async (path) => {
    const { html, status } = await somebody.ask(path === '/login' ? '/login?add=1' : path)
    expect(status).toBe(200)
    const files = [/<link rel="stylesheet" href="([^"]+)"/, /<script src="([^"]+)"/].map(
      (at) => at.exec(html)?.[1]?.replaceAll('&amp;', '&') ?? '',
    )
    const parts = await Promise.all(files.map((file) => somebody.ask(file)))
    const bytes = [html, ...parts.map((part) => part.html)].map((text) => new TextEncoder().encode(text).length)
    expect(
      bytes.reduce((sum, size) => sum + size, 0),
      `${path}: ${bytes}`,
    ).toBeLessThanOrEqual(20_000)
  })
})
