/** The login page, in workerd: what it shows, whom it lets in, and what it refuses. */
import { beforeAll, describe, expect, it } from 'vitest'
import { POLICY } from '../../src/pages/visit.tsx'
import { nameOf, originOf } from '../support/jar.ts'
import { ADMIN, call } from '../support/people.ts'
import { copyTenant } from '../support/tenants.ts'
import { hiddenIn, newVisitor, tagIn, textOf } from '../support/visitors.ts'

const AT = 'pages-login'
const OTHER = 'pages-login-other'
const WRONG = { username: ADMIN.email, password: 'not-this-one-7' }

beforeAll(async () => {
  await Promise.all([copyTenant(AT), copyTenant(OTHER)])
})

const enter = { username: ADMIN.email, password: ADMIN.password }

describe('the login page', () => {
  it('is whole without script, in one round trip, under a policy that lets only files of its host run', async () => {
    const shown = await newVisitor(AT).ask('/login')
    expect([shown.status, shown.trips]).toEqual([200, 1])
    expect(shown.headers.get('Content-Type')).toBe('text/html; charset=utf-8')
    expect(shown.headers.get('Content-Security-Policy')).toBe(POLICY)
    expect(POLICY).toMatch(/default-src 'none'.*form-action 'self'.*frame-ancestors 'none'.*base-uri 'none'/)
    expect([shown.headers.get('Cache-Control'), shown.headers.get('Referrer-Policy')]).toEqual(['no-store', 'same-origin'])
    expect(shown.html).toMatch(/^<!doctype html><html lang="en">/)
    expect(shown.html).not.toMatch(/<style|style="|<script(?![^>]* src=)| on\w+="/)
    expect(tagIn(shown.html, 'form')).toMatchObject({ method: 'post', action: '/login' })
    for (const name of ['username', 'password']) expect(tagIn(shown.html, 'label', { for: name }), name).not.toBeNull()
    expect(tagIn(shown.html, 'input', { name: 'username' })).toMatchObject({ autocomplete: 'username webauthn' })
    expect(tagIn(shown.html, 'input', { name: 'password' })).toMatchObject({ autocomplete: 'current-password' })
  })

  it('has 20 KB at most, with its style sheet and its script', async () => {
    const visitor = newVisitor(AT)
    const shown = await visitor.ask('/login')
    const files = [tagIn(shown.html, 'link')?.href ?? '', tagIn(shown.html, 'script')?.src ?? '']
    const parts = await Promise.all(files.map((file) => visitor.ask(file)))
    expect(parts.map(({ headers }) => headers.get('Content-Type'))).toEqual([
      'text/css; charset=utf-8',
      'text/javascript; charset=utf-8',
    ])
    const bytes = [shown, ...parts].map(({ html }) => new TextEncoder().encode(html).length)
    expect(
      bytes.every((size) => size > 1000),
      String(bytes),
    ).toBe(true)
    expect(bytes.reduce((sum, size) => sum + size, 0)).toBeLessThanOrEqual(20_000)
  })

  it('speaks the language that the browser asks for', async () => {
    const spanish = await newVisitor(AT).ask('/login', { headers: { 'Accept-Language': 'es-PE,es;q=0.9,en;q=0.5' } })
    expect(spanish.html).toContain('<html lang="es">')
    expect(spanish.headers.get('Content-Language')).toBe('es')
    expect(textOf(spanish.html)).toMatch(/Iniciar sesión en pages-login S\.A\.C\..*Contraseña/)
    expect(textOf((await newVisitor(AT).ask('/login')).html)).toMatch(/Log in to pages-login S\.A\.C\./)
  })

  it('is of tenants alone: on the base domain there is nothing, and an unknown tenant is told so on a page', async () => {
    for (const path of ['/login', '/account', '/', '/register']) {
      const { status, body } = await call('', path)
      expect([path, status, body.code]).toEqual([path, 404, 'not_found'])
    }
    const nobody = await newVisitor('pages-nobody').ask('/login', { headers: { 'Accept-Language': 'es' } })
    expect([nobody.status, nobody.headers.get('Content-Type')]).toEqual([404, 'text/html; charset=utf-8'])
    expect(textOf(nobody.html)).toContain('No hay nadie en esta dirección')
    const deleting = await newVisitor(AT).ask('/login', { method: 'DELETE' })
    expect([deleting.status, deleting.headers.get('Allow')]).toEqual([405, 'GET, HEAD, POST'])
  })
})

describe('a login', () => {
  it('takes two round trips, sets the cookies of the API, and leads on to the account', async () => {
    const visitor = newVisitor(AT)
    const shown = await visitor.send('/login', '/login', enter)
    expect([shown.status, shown.location, shown.trips]).toEqual([303, '/account', 2])
    const [account = ''] = [...visitor.kept.keys()].flatMap((name) => /^__Host-fh_a_(.*)$/.exec(name)?.[1] ?? [])
    for (const kind of ['a', 'r', 'd'] as const) expect(visitor.kept.has(nameOf(kind, account))).toBe(true)
    for (const cookie of shown.headers.getSetCookie())
      expect(cookie).toMatch(/; Path=\/; HttpOnly; Secure; SameSite=(Strict|Lax)$/)
    const page = await visitor.ask('/account')
    expect([page.status, textOf(page.html).includes(ADMIN.email)]).toEqual([200, true])
    expect((await visitor.ask('/')).location).toBe('/account')
    expect((await visitor.ask('/login')).location).toBe('/account')
  })

  it('goes on to the page that somebody wanted, and to no other host, however it is written', async () => {
    const visitor = newVisitor(AT)
    const wanted = await visitor.ask('/account/api-keys?a=b')
    expect([wanted.status, wanted.location]).toEqual([303, '/login?next=%2Faccount%2Fapi-keys%3Fa%3Db'])
    expect((await visitor.send(wanted.location ?? '', '/login', enter)).location).toBe('/account/api-keys?a=b')
    const foreign = [
      'https://elsewhere.test/',
      '//elsewhere.test/',
      '/\\elsewhere.test/',
      '\\\\elsewhere.test/',
      '/\t/elsewhere.test/',
      '/a/..//elsewhere.test/',
      '/./\\elsewhere.test',
      '/%0d%0aSet-Cookie:a=b\r\n',
      'javascript:alert(1)',
      'elsewhere.test',
      ` /account`,
      `${originOf(OTHER)}/account`,
      `/${'a'.repeat(3000)}`,
    ]
    for (const next of foreign) {
      const shown = await newVisitor(AT).send(`/login?${new URLSearchParams({ next })}`, '/login', enter)
      expect([next, shown.status, shown.location]).toEqual([next, 303, '/account'])
      const typed = await newVisitor(AT).send('/login', '/login', { ...enter, next })
      expect([next, typed.location], textOf(typed.html)).toEqual([next, '/account'])
    }
  })

  it('that fails is told once, at its field, which has the focus and reads it aloud; the name is repeated, the password never', async () => {
    const shown = await newVisitor(AT).send('/login', '/login', WRONG)
    expect(shown.status).toBe(401)
    expect(tagIn(shown.html, 'input', { name: 'password' })).toMatchObject({
      'aria-invalid': 'true',
      'aria-describedby': 'password-wrong',
      autofocus: '',
    })
    expect(tagIn(shown.html, 'div', { id: 'password-wrong' })).not.toBeNull()
    expect(textOf(shown.html).match(/The password or the name is wrong/g)).toHaveLength(1)
    expect(tagIn(shown.html, 'div', { role: 'alert' })).toBeNull()
    expect(shown.html).toMatch(/<title>Error: /)
    expect(tagIn(shown.html, 'input', { name: 'username' })?.value).toBe(ADMIN.email)
    expect(shown.html).not.toContain(WRONG.password)
  })

  it('of somebody unknown looks the same as a wrong password', async () => {
    const one = await newVisitor(AT).send('/login', '/login', { ...WRONG, username: 'nobody@acme.test' })
    const other = await newVisitor(AT).send('/login', '/login', WRONG)
    const bare = (html: string) => html.replace(/value="[^"]*"|(?<=challenge&quot;:&quot;)[^&]*/g, '')
    expect(one.status).toBe(401)
    expect(bare(one.html)).toBe(bare(other.html))
  })

  it('is counted as one of the API: who fails too often on the page is locked out there, too', async () => {
    await copyTenant('pages-lockout')
    const stranger = { 'CF-Connecting-IP': '203.0.113.77' }
    const visitor = newVisitor('pages-lockout', stranger)
    for (let i = 0; i < 5; i++) expect((await visitor.send('/login', '/login', WRONG)).status).toBe(401)
    expect((await visitor.send('/login', '/login', enter)).status).toBe(401)
    const { status } = await call('pages-lockout', '/api/v1/auth/login', { body: ADMIN, headers: stranger })
    expect(status).toBe(401)
  })

  it('twenty at once let twenty in, or say that too many are under way', async () => {
    const visitor = newVisitor(AT)
    const { html } = await visitor.ask('/login')
    const form = { ...hiddenIn(html, '/login'), ...enter }
    const shown = await Promise.all(Array.from({ length: 20 }, () => visitor.ask('/login', { form, at_once: true })))
    expect(shown.map(({ status }) => status).filter((status) => status !== 303 && status !== 429)).toEqual([])
    expect(shown.some(({ status }) => status === 303)).toBe(true)
  })
})

describe('a form', () => {
  const form = async (visitor = newVisitor(AT)): Promise<Record<string, string>> => ({
    ...hiddenIn((await visitor.ask('/login')).html, '/login'),
    ...enter,
  })

  it('counts only with the token of this browser and of this form; without, it is shown again', async () => {
    const [mine, theirs] = [newVisitor(AT), newVisitor(AT)]
    const [own, foreign] = [await form(mine), await form(theirs)]
    const reset = hiddenIn((await mine.ask('/reset-password?step=ask')).html, '/reset-password')
    const tries = [
      { ...own, form: '' },
      { ...own, form: 'x' },
      { ...own, form: foreign.form ?? '' },
      { ...own, ...reset },
    ]
    for (const sent of tries) {
      const shown = await mine.ask('/login', { form: sent })
      expect([shown.status, shown.headers.getSetCookie().some((cookie) => cookie.includes('fh_a_'))]).toEqual([403, false])
      expect(textOf(shown.html)).toContain('nothing was changed')
      // What is shown works.
      expect((await newVisitor(AT).send('/login', '/login', enter)).status).toBe(303)
    }
    const bare = newVisitor(AT)
    expect((await bare.ask('/login', { form: own })).status).toBe(403)
    expect((await mine.ask('/login', { form: own })).status).toBe(303)
    const broken = await mine.ask('/login', { form: own, headers: { Cookie: '__Host-fh_form=garbage' } })
    expect(broken.status).toBe(403)
  })

  it.each([
    ['no origin', null],
    ['null', 'null'],
    ['another site', 'https://elsewhere.test'],
    ['a sibling', originOf(OTHER)],
    ['the base domain', originOf('')],
    ['another scheme', originOf(AT).replace('http:', 'https:')],
    ['another port', `${originOf(AT)}:8080`],
  ])('from %s is refused', async (_, origin) => {
    const visitor = newVisitor(AT)
    const sent = await form(visitor)
    const cookie = [...visitor.kept].map((pair) => pair.join('=')).join('; ')
    const shown = await visitor.ask('/login', { form: sent, headers: { Cookie: cookie, Origin: origin ?? '' } })
    expect([shown.status, shown.headers.getSetCookie().some((set) => set.includes('fh_a_'))]).toEqual([403, false])
  })

  it('says what is wrong with its fields', async () => {
    const visitor = newVisitor(AT)
    const sent = await form(visitor)
    const rows: [Record<string, string>, string][] = [
      [{ username: '' }, 'username'],
      [{ password: '' }, 'password'],
      [{ username: 'x'.repeat(256) }, 'username'],
      [{ password: 'x'.repeat(1025) }, 'password'],
    ]
    for (const [more, field] of rows) {
      const shown = await visitor.ask('/login', { form: { ...sent, ...more } })
      expect([field, shown.status]).toEqual([field, 400])
      expect(tagIn(shown.html, 'input', { name: field })).toMatchObject({ 'aria-invalid': 'true' })
    }
    for (const extra of ['surprise=1', 'constructor=1', 'username=second', 'cookie=true', '__proto__=1'])
      expect((await visitor.ask('/login', { raw: `${new URLSearchParams(sent)}&${extra}` })).status, extra).toBe(
        extra.startsWith('__') ? 303 : 400,
      )
  })

  it('is a small one, and nothing else: what is larger or of another type gets a page', async () => {
    const visitor = newVisitor(AT)
    const large = await visitor.ask('/login', { raw: `username=${'x'.repeat(1024 * 1024)}` })
    expect([large.status, textOf(large.html).includes('too much text')]).toEqual([413, true])
    for (const type of ['application/json', 'multipart/form-data; boundary=x', 'text/plain'])
      expect((await visitor.ask('/login', { raw: '{}', headers: { 'Content-Type': type } })).status, type).toBe(415)
    const latin = await visitor.ask('/login', { raw: 'username=%ff&password=x' })
    expect([latin.status, latin.headers.get('Content-Type')]).toEqual([400, 'text/html; charset=utf-8'])
  })
})

describe('a page that is reached by a link from elsewhere', () => {
  const FROM = { 'Sec-Fetch-Site': 'cross-site' }

  it('asks once more from itself, where the browser has the cookies of the session, and only once', async () => {
    const visitor = newVisitor(AT)
    await visitor.logIn(ADMIN.email, ADMIN.password)
    // Strict cookies do not come with such a link.
    const strangers = newVisitor(AT, FROM)
    const away = await strangers.ask('/account')
    expect([away.status, away.location]).toEqual([303, '/login?next=%2Faccount'])
    const small = await strangers.ask(away.location ?? '')
    const again = tagIn(small.html, 'meta', { 'http-equiv': 'refresh' })?.content ?? ''
    expect([small.status, again, small.trips]).toEqual([200, '0;url=/login?next=%2Faccount&again=1', 0])
    expect(small.html).not.toContain('<form')
    const to = again.slice('0;url='.length)
    expect((await visitor.ask(to)).location).toBe('/account')
    const nobody = await strangers.ask(to)
    expect([nobody.status, tagIn(nobody.html, 'meta', { 'http-equiv': 'refresh' })]).toEqual([200, null])
    expect(nobody.html).toContain('<form')
  })

  it('by a browser that does not say from where shows the login, which asks once more by itself', async () => {
    const old = newVisitor(AT, { 'Sec-Fetch-Site': '' })
    const shown = await old.ask('/login')
    expect(shown.html).toContain('<form')
    expect(tagIn(shown.html, 'meta', { 'http-equiv': 'refresh' })?.content).toBe('0;url=/login?again=1')
    const own = await old.ask('/login', { headers: { Referer: `${originOf(AT)}/reset-password` } })
    expect(tagIn(own.html, 'meta', { 'http-equiv': 'refresh' })).toBeNull()
  })

  it('or by its address, or from a sibling, is shown at once', async () => {
    for (const site of ['none', 'same-origin', 'same-site'])
      expect(
        tagIn((await newVisitor(AT).ask('/login', { headers: { 'Sec-Fetch-Site': site } })).html, 'meta', {
          'http-equiv': 'refresh',
        }),
      ).toBeNull()
  })
})
