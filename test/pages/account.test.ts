/** The account page, in workerd: who sees it, for how long, and that everybody sees and ends their own alone. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { addPerson, type Inside, inside } from '../support/inside.ts'
import { nameOf } from '../support/jar.ts'
import { ADMIN } from '../support/people.ts'
import { copyTenant } from '../support/tenants.ts'
import { hiddenIn, newVisitor, tagIn, textOf, type Visitor } from '../support/visitors.ts'

const AT = 'pages-account'
const PAGES = ['/account', '/account/password', '/account/api-keys', '/account/mfa']
const CY = { email: 'cy@people.test', password: 'Quiet-river-stone-41' }
let realm: Inside

beforeAll(async () => {
  await Promise.all([copyTenant(AT), copyTenant('pages-account-other')])
  realm = await inside(AT)
  await addPerson(realm, 'cy', { password: CY.password })
})

const accountIn = ({ kept }: Visitor) =>
  /^__Host-fh_r_(.*)$/.exec([...kept.keys()].find((name) => name.includes('fh_r_')) ?? '')?.[1] ?? ''

async function loggedIn({ email, password } = ADMIN, at = AT): Promise<Visitor> {
  const visitor = newVisitor(at)
  await visitor.logIn(email, password)
  return visitor
}

describe('a page of a sibling host', () => {
  it('loads nothing with the session of its visitor; who follows a link from there is let in', async () => {
    const visitor = await loggedIn()
    const from = (mode: string, dest: string) =>
      visitor.ask('/account', {
        headers: { 'Sec-Fetch-Site': 'same-site', 'Sec-Fetch-Mode': mode, 'Sec-Fetch-Dest': dest },
      })
    for (const [mode, dest] of [
      ['no-cors', 'empty'],
      ['no-cors', 'image'],
      ['navigate', 'iframe'],
    ] as const)
      expect([mode, dest, (await from(mode, dest)).status]).toEqual([mode, dest, 403])
    expect((await from('navigate', 'document')).status).toBe(200)
  })
})

describe('an access token that has ended', () => {
  it('without one to renew it leads to the login, which does not lead back', async () => {
    const visitor = await loggedIn()
    const access = [...visitor.kept].find(([name]) => name.includes('fh_a_'))
    visitor.kept.clear()
    visitor.kept.set(access?.[0] ?? '', 'invalid')
    const out = await visitor.ask('/account')
    expect(out.location).toMatch(/^\/login\?next=%2Faccount/)
    expect((await visitor.ask(out.location ?? '')).status).toBe(200)
  })
})

describe('the account page', () => {
  it('shows who is logged in and their sessions, each of which the others can end', async () => {
    const visitor = await loggedIn(CY)
    const other = await loggedIn(CY)
    const { html } = await visitor.ask('/account')
    expect(textOf(html)).toMatch(/Hello Cyan .*cy@people\.test.*This device/)
    expect(html.match(/action="\/account\/sessions\/end"/g)).toHaveLength(1)
    const ended = await visitor.ask('/account/sessions/end', { form: hiddenIn(html, '/account/sessions/end') })
    expect([ended.status, ended.location]).toEqual([303, '/account?said=session_ended'])
    expect(textOf((await visitor.ask(ended.location ?? '')).html)).toContain('The session has ended.')
    const out = await other.ask('/account')
    expect([out.status, out.location]).toEqual([303, '/login?next=%2Faccount&said=ended'])
    expect(accountIn(other)).toBe('')
    const twice = await visitor.ask('/account/sessions/end', { form: hiddenIn(html, '/account/sessions/end') })
    expect(twice.location).toBe('/account?said=session_was_ended')
    expect(textOf((await visitor.ask(twice.location ?? '')).html)).toContain('had ended before')
  })

  it('ends no session of somebody else, not even for an administrator', async () => {
    const [bo, cy] = [await loggedIn(), await loggedIn(CY)]
    const second = await loggedIn(CY)
    const form = hiddenIn((await cy.ask('/account')).html, '/account/sessions/end')
    const token = hiddenIn((await bo.ask('/account')).html, '/account/logout').form ?? ''
    const guess = await bo.ask('/account/sessions/end', { form: { ...form, form: token } })
    expect(guess.status).toBe(403)
    await loggedIn()
    const mine = hiddenIn((await bo.ask('/account')).html, '/account/sessions/end')
    const sent = await bo.ask('/account/sessions/end', { form: { ...mine, id: form.id ?? '' } })
    expect(sent.location).toBe('/account?said=session_was_ended')
    expect((await second.ask('/account')).status).toBe(200)
  })

  it.each(PAGES)('%s sends whoever is not logged in to the login, and back afterwards', async (path) => {
    const visitor = newVisitor(AT)
    const away = await visitor.ask(path)
    expect([away.status, away.location, away.trips]).toEqual([303, `/login?${new URLSearchParams({ next: path })}`, 0])
    const form = { '/account': '/account/logout', '/account/mfa': '/account/mfa/setup' }[path] ?? path
    const posted = await visitor.ask(form, { form: { form: 'x' } })
    expect([posted.status, posted.location]).toEqual([303, '/login?next=%2Faccount'])
  })

  it.each([...PAGES, '/email-change'])(
    '%s renews an access token that has ended, in the same request and one round trip more',
    async (path) => {
      const visitor = await loggedIn(CY)
      const account = accountIn(visitor)
      const was = visitor.kept.get(nameOf('r', account))
      visitor.kept.delete(nameOf('a', account))
      const shown = await visitor.ask(path)
      expect([shown.status, visitor.kept.has(nameOf('a', account))]).toEqual([200, true])
      expect(visitor.kept.get(nameOf('r', account))).not.toBe(was)
      expect((await visitor.ask(path)).headers.getSetCookie().filter((cookie) => /fh_[ar]_/.test(cookie))).toEqual([])
    },
  )

  it('is sent once for a form, also when the access token has ended', async () => {
    const visitor = await loggedIn(CY)
    const { html } = await visitor.ask('/account')
    visitor.kept.delete(nameOf('a', accountIn(visitor)))
    const out = await visitor.ask('/account/logout', { form: hiddenIn(html, '/account/logout') })
    expect([out.status, out.location, accountIn(visitor)]).toEqual([303, '/login?said=logged_out', ''])
  })

  it('twenty tabs that renew at once all go on', async () => {
    const visitor = await loggedIn(CY)
    visitor.kept.delete(nameOf('a', accountIn(visitor)))
    const shown = await Promise.all(Array.from({ length: 20 }, () => visitor.ask('/account')))
    expect(shown.map(({ status }) => status)).toEqual(Array(20).fill(200))
    expect((await visitor.ask('/account')).status).toBe(200)
  })

  it('with cookies that are forged, of another tenant, or of another account shows the login', async () => {
    const [cy, bo] = [await loggedIn(CY), await loggedIn()]
    const foreign = await loggedIn(ADMIN, 'pages-account-other')
    const account = accountIn(cy)
    const tokens = [
      'garbage',
      'a.b.c',
      foreign.kept.get(nameOf('a', accountIn(foreign))),
      bo.kept.get(nameOf('a', accountIn(bo))),
    ]
    for (const token of tokens) {
      const visitor = newVisitor(AT)
      visitor.kept.set(nameOf('a', account), token ?? '')
      const shown = await visitor.ask('/account')
      expect([shown.status, shown.location]).toEqual([303, '/login?next=%2Faccount&said=ended'])
    }
    const visitor = newVisitor(AT)
    visitor.kept.set(nameOf('r', account), 'x'.repeat(43))
    expect((await visitor.ask('/account')).location).toBe('/login?next=%2Faccount&said=ended')
    expect((await cy.ask('/account')).status).toBe(200)
  })

  it('of somebody who was deactivated says so at the login, and the browser can log in as somebody else', async () => {
    const eli = await addPerson(realm, 'eli')
    const visitor = await loggedIn(eli)
    await realm.asOwner(sql`update freehold.users set is_active = false where username = 'eli'`)
    const away = await visitor.ask('/account')
    expect(away.location).toMatch(/^\/login\?next=%2Faccount&said=(inactive|ended)$/)
    expect((await visitor.ask(away.location ?? '')).status).toBe(200)
    await visitor.logIn(ADMIN.email, ADMIN.password)
  })

  it('of two accounts in one browser acts for the one that logged in last on a page', async () => {
    const visitor = await loggedIn(CY)
    const cookies = [...visitor.kept]
    visitor.kept.clear()
    await visitor.logIn(ADMIN.email, ADMIN.password)
    for (const [name, value] of cookies) if (/fh_[ar]_/.test(name)) visitor.kept.set(name, value)
    expect(textOf((await visitor.ask('/account')).html)).toContain(ADMIN.email)
    visitor.kept.delete('__Host-fh_page')
    expect((await visitor.ask('/account')).location).toBe('/login?next=%2Faccount')
  })
})

describe('several accounts in one browser', () => {
  it('are listed on the account page, which lets one switch, and names those of which it has shown a page', async () => {
    const visitor = await loggedIn(CY)
    await visitor.ask('/account')
    const added = await visitor.send('/login?add=1', '/login', { username: ADMIN.email, password: ADMIN.password })
    expect(added.location).toBe('/account')
    const page = await visitor.ask('/account')
    expect(textOf(page.html)).toMatch(/Hello Bo.*Other accounts in this browser cy@people\.test/i)
    const form = hiddenIn(page.html, '/account/switch')
    const switched = await visitor.ask('/account/switch', { form })
    expect([switched.status, switched.location, switched.trips]).toEqual([303, '/account', 0])
    expect(textOf((await visitor.ask('/account')).html)).toMatch(/Hello Cyan .*Other accounts in this browser bo@acme\.test/)
    const twice = await visitor.ask('/account/switch', { form })
    expect(twice.location).toBe('/account')
  })

  it('are offered at the login after one of them logged out, and nobody is chosen for them', async () => {
    const visitor = await loggedIn(CY)
    await visitor.ask('/account')
    await visitor.send('/login?add=1', '/login', { username: ADMIN.email, password: ADMIN.password })
    const out = await visitor.send('/account', '/account/logout')
    const page = await visitor.ask(out.location ?? '')
    expect(textOf(page.html)).toContain('Other accounts in this browser cy@people.test')
    expect((await visitor.ask('/account')).location).toBe('/login?next=%2Faccount')
    expect((await visitor.ask('/account/switch', { form: hiddenIn(page.html, '/account/switch') })).location).toBe('/account')
    expect(textOf((await visitor.ask('/account')).html)).toContain(CY.email)
    expect(decodeURIComponent(visitor.kept.get('__Host-fh_names') ?? '')).not.toContain(ADMIN.email)
  })

  it('are none that this browser does not hold, and the cookie of names may hold anything', async () => {
    const [visitor, bo] = [await loggedIn(CY), await loggedIn()]
    const page = await visitor.ask('/login?add=1')
    const form = hiddenIn(page.html, '/account/switch')
    const guess = await visitor.ask('/account/switch', { form: { ...form, account: accountIn(bo) } })
    expect([guess.status, guess.location]).toEqual([303, '/login'])
    expect(textOf((await visitor.ask('/account')).html)).toContain(CY.email)
    const other = `__Host-fh_r_${accountIn(bo)}`
    visitor.kept.set(other, bo.kept.get(other) ?? '')
    for (const names of ['garbage', '%', '[]', '{"x":1}', encodeURIComponent(JSON.stringify({ [accountIn(bo)]: '<b>Bo</b>' }))]) {
      visitor.kept.set('__Host-fh_names', names)
      const shown = await visitor.ask('/account')
      expect([names, shown.status, shown.html.includes('<b>Bo')]).toEqual([names, 200, false])
    }
  })
})

describe('logging out', () => {
  it('ends the session, takes its cookies and says so', async () => {
    const visitor = await loggedIn(CY)
    const held = new Map(visitor.kept)
    const out = await visitor.send('/account', '/account/logout')
    expect([out.status, out.location]).toEqual([303, '/login?said=logged_out'])
    expect([...visitor.kept.keys()].filter((name) => /fh_[ar]_|fh_page/.test(name))).toEqual([])
    expect(textOf((await visitor.ask(out.location ?? '')).html)).toContain('You are logged out.')
    const replayed = newVisitor(AT)
    for (const [name, value] of held) replayed.kept.set(name, value)
    expect((await replayed.ask('/account')).location).toBe('/login?next=%2Faccount&said=ended')
  })

  it('leaves nobody, also where somebody else is logged in in the same browser', async () => {
    const visitor = await loggedIn()
    for (const [name, value] of (await loggedIn(CY)).kept) if (/fh_([ar]_|page)/.test(name)) visitor.kept.set(name, value)
    const out = await visitor.send('/account', '/account/logout')
    expect(out.location).toBe('/login?said=logged_out')
    expect((await visitor.ask(out.location ?? '')).status).toBe(200)
    expect((await visitor.ask('/account')).location).toBe('/login?next=%2Faccount')
  })

  it('with a form that is too old says so, and ends nothing', async () => {
    const visitor = await loggedIn(CY)
    const out = await visitor.ask('/account/logout', { form: { form: 'x'.repeat(43) } })
    expect([out.status, tagIn(out.html, 'div', { role: 'alert' }) !== null]).toEqual([403, true])
    expect((await visitor.ask('/account')).status).toBe(200)
  })

  it('everywhere ends all sessions of this person, and of nobody else', async () => {
    const [one, two, bo] = [await loggedIn(CY), await loggedIn(CY), await loggedIn()]
    const out = await one.send('/account', '/account/logout-all')
    expect(out.location).toBe('/login?said=logged_out_all')
    expect((await two.ask('/account')).location).toBe('/login?next=%2Faccount&said=ended')
    expect((await bo.ask('/account')).status).toBe(200)
  })
})

describe('the password', () => {
  const SECOND = 'Another-harbour-wall-58'

  it('is changed with the current one, keeps this session and ends the others', async () => {
    const [visitor, other] = [await loggedIn(CY), await loggedIn(CY)]
    const page = await visitor.ask('/account/password')
    expect(textOf(page.html)).toMatch(/At least 12 characters.*None of your last 5 passwords/)
    const form = hiddenIn(page.html, '/account/password')
    const wrong = await visitor.ask('/account/password', {
      form: { ...form, current_password: 'nope-nope-nope', new_password: SECOND },
    })
    expect([wrong.status, /id="current_password"[^>]*aria-invalid="true"/.test(wrong.html)]).toEqual([401, true])
    const weak = await visitor.ask('/account/password', {
      form: { ...form, current_password: CY.password, new_password: 'short' },
    })
    expect([weak.status, textOf(weak.html).includes('Must have at least 12 characters.')]).toEqual([400, true])
    const done = await visitor.ask('/account/password', {
      form: { ...form, current_password: CY.password, new_password: SECOND },
    })
    expect([done.status, done.location]).toEqual([303, '/account?said=password_changed'])
    expect((await visitor.ask('/account')).status).toBe(200)
    expect((await other.ask('/account')).location).toBe('/login?next=%2Faccount&said=ended')
    await realm.asOwner(sql`update freehold.tenant set password_history = 0`)
    const again = await visitor.send('/account/password', '/account/password', {
      current_password: SECOND,
      new_password: CY.password,
    })
    expect(again.status).toBe(303)
  })

  it('that must be changed comes before everything else', async () => {
    const dee = await addPerson(realm, 'dee')
    await realm.asOwner(sql`update freehold.users set must_change_password = true where username = 'dee'`)
    const visitor = newVisitor(AT)
    const shown = await visitor.send('/login', '/login', { username: dee.email, password: dee.password })
    expect(shown.location).toBe('/account/password')
    for (const path of ['/account', '/account/api-keys', '/email-change'])
      expect((await visitor.ask(path)).location, path).toBe('/account/password')
    const fields = { current_password: dee.password, new_password: 'Second-lantern-garden-4' }
    expect((await visitor.send('/account/password', '/account/password', fields)).status).toBe(303)
    expect((await visitor.ask('/account')).status).toBe(200)
  })
})
