/**
 * Logins from elsewhere on the pages: out to the provider and back. Threat: a page elsewhere logs somebody in as somebody else, a code or an
 * answer that was seen is used by another browser, or the browser is sent on to a page of somebody else.
 */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Inside, inside } from '../support/inside.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { newVisitor, tagIn, textOf, type Visitor } from '../support/visitors.ts'
import { addProvider, askedUnder, type Made, makeProvider, patchProvider, plant } from './cast.ts'

const AT = 'external-pages'
let realm: Inside
let admin: string
let provider: Made
let at: Awaited<ReturnType<typeof addProvider>>

beforeAll(async () => {
  await copyTenant(AT)
  realm = await inside(AT)
  admin = await tokenOf(AT)
  provider = await makeProvider({ metadata: { authorization_response_iss_parameter_supported: true } })
  at = await addProvider(AT, admin, provider.issuer, {
    creates_users: true,
    label: 'Acme & Co',
    client_secret: 'a+secret/of=ours',
  })
})

/** What a browser sends that a page elsewhere sent here. */
const ELSEWHERE = { 'Sec-Fetch-Site': 'cross-site', 'Sec-Fetch-Mode': 'navigate', 'Sec-Fetch-Dest': 'document' }
const COOKIE = '__Host-fh_external'

/** Begins a login; gives where the provider was asked for it. */
async function begin(visitor: Visitor, next = '', name = at.name) {
  const shown = await visitor.ask(`/login/external/${name}${next && `?next=${encodeURIComponent(next)}`}`)
  expect([shown.status, shown.trips], textOf(shown.html)).toEqual([303, 1])
  return new URL(shown.location ?? '')
}
/** The provider gives this token for whatever code it is shown. */
const give = (id_token: string, more: object = {}, made = provider) =>
  plant({ path: `${made.path}/token`, body: JSON.stringify({ access_token: 'x', token_type: 'Bearer', id_token, ...more }) })
const person = (asked: URL, sub: string) => ({
  sub,
  email: `${sub}@people.test`,
  email_verified: true,
  nonce: asked.searchParams.get('nonce') ?? '',
})
const back = (visitor: Visitor, asked: URL, params: Record<string, string> = {}, name = at.name) =>
  visitor.ask(
    `/login/external/${name}/callback?${new URLSearchParams({ code: 'the-code', state: asked.searchParams.get('state') ?? '', iss: provider.issuer, ...params })}`,
    { headers: ELSEWHERE },
  )
const REFUSED = '/login?said=external_refused'

describe('the login page', () => {
  it('has a link for each provider that is enabled, and works without script', async () => {
    const { html } = await newVisitor(AT).ask('/login?next=/account/passkeys')
    const link = tagIn(html, 'a', { href: `/login/external/${at.name}?next=%2Faccount%2Fpasskeys` })
    expect(link?.class).toBe('button quiet')
    expect(textOf(html)).toContain('Log in with Acme & Co')
    expect(textOf((await newVisitor(AT, { 'Accept-Language': 'es' }).ask('/login')).html)).toContain(
      'Iniciar sesión con Acme & Co',
    )
  })
})

describe('a login', () => {
  it('goes out with PKCE, state and nonce, and comes back with cookies, in one and in two round trips', async () => {
    const visitor = newVisitor(AT)
    const asked = await begin(visitor, '/account/passkeys')
    expect(asked.href.split('?')[0]).toBe(`${provider.issuer}/authorize`)
    const { code_challenge, state, nonce, ...rest } = Object.fromEntries(asked.searchParams)
    expect(rest).toEqual({
      response_type: 'code',
      client_id: 'client',
      redirect_uri: `http://${AT}.freehold.test/login/external/${at.name}/callback`,
      scope: 'openid email profile',
      code_challenge_method: 'S256',
    })
    await give(await provider.token(person(asked, 'page-ann')))
    const shown = await back(visitor, asked)
    expect([shown.status, shown.location, shown.trips], textOf(shown.html)).toEqual([303, '/login?next=%2Faccount%2Fpasskeys', 2])
    expect(visitor.kept.has(COOKIE)).toBe(false)
    const [exchange] = (await askedUnder(`${provider.path}/token`)).slice(-1)
    const sent = new URLSearchParams(exchange?.body)
    expect(Object.fromEntries(sent)).toMatchObject({
      grant_type: 'authorization_code',
      code: 'the-code',
      redirect_uri: rest.redirect_uri,
    })
    const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(sent.get('code_verifier') ?? ''))
    expect(
      btoa(String.fromCharCode(...new Uint8Array(digest)))
        .replaceAll('+', '-')
        .replaceAll('/', '_')
        .replace('=', ''),
    ).toBe(code_challenge)
    expect(exchange?.headers.authorization).toBe(`Basic ${btoa('client:a%2Bsecret%2Fof%3Dours')}`)
    expect([state?.length, nonce?.length]).toEqual([43, 43])
    const login = await visitor.ask(shown.location ?? '', { headers: ELSEWHERE })
    expect(login.status).toBeLessThan(400)
    const account = await visitor.ask('/account')
    expect(textOf(account.html)).toContain('page-ann@people.test')
  })

  it('keeps what it needs in a cookie of its own: Lax, HttpOnly, ten minutes, unreadable', async () => {
    const shown = await newVisitor(AT).ask(`/login/external/${at.name}`)
    const cookie = shown.headers.getSetCookie().find((line) => line.startsWith(COOKIE)) ?? ''
    for (const attribute of ['Max-Age=600', 'Path=/', 'HttpOnly', 'Secure', 'SameSite=Lax']) expect(cookie).toContain(attribute)
    const { state, nonce } = Object.fromEntries(new URL(shown.location ?? '').searchParams)
    for (const secret of [state, nonce]) expect(cookie).not.toContain(secret)
  })

  it.each(['//evil.test', 'https://evil.test/', '/\\evil.test', 'javascript:alert(1)'])(
    'goes on to no page elsewhere: %s',
    async (next) => {
      const visitor = newVisitor(AT)
      const asked = await begin(visitor, next)
      await give(await provider.token(person(asked, `next-${next.length}`)))
      expect((await back(visitor, asked)).location).toBe('/login?next=%2Faccount')
    },
  )

  it('asks for the second factor that the tenant has, and goes on with it', async () => {
    const visitor = newVisitor(AT)
    const first = await begin(visitor)
    await give(await provider.token(person(first, 'page-mfa')))
    await back(visitor, first)
    await realm.asOwner(
      sql`update freehold.users set factors = '{totp}' where email = 'page-mfa@people.test'`,
      sql`insert into freehold.totp_factors (user_id, secret_encrypted, enabled_at) select id, 'k1.x.y', now() from freehold.users where email = 'page-mfa@people.test'`,
    )
    const again = newVisitor(AT)
    const asked = await begin(again)
    await give(await provider.token({ ...person(asked, 'page-mfa'), jti: '2' }))
    const shown = await back(again, asked)
    expect([shown.status, shown.location]).toEqual([200, null])
    expect(textOf(shown.html)).toContain('Enter your code')
    expect([...again.kept.keys()].filter((name) => /fh_[ar]_/.test(name))).toEqual([])
  })
})

describe('what comes back is refused', () => {
  const begun = async () => {
    const visitor = newVisitor(AT)
    const asked = await begin(visitor)
    await give(await provider.token(person(asked, `refused-${crypto.randomUUID().slice(0, 8)}`)))
    return { visitor, asked }
  }
  const expectOut = async (visitor: Visitor, shown: Awaited<ReturnType<typeof back>>, where = REFUSED) => {
    expect([shown.status, shown.location], textOf(shown.html)).toEqual([303, where])
    expect([...visitor.kept.keys()].filter((name) => /fh_[ar]_/.test(name))).toEqual([])
  }

  it.each<[string, Record<string, string>]>([
    ['with another state', { state: 'x'.repeat(43) }],
    ['without one', { state: '' }],
    ['of another issuer', { iss: 'https://elsewhere.example' }],
    ['without the issuer that the provider says it sends', { iss: '' }],
    ['without a code', { code: '' }],
    ['as an error', { error: 'access_denied' }],
    ['with a token in the address', { id_token: 'x.y.z' }],
  ])('%s', async (_, params) => {
    const { visitor, asked } = await begun()
    const before = (await askedUnder(`${provider.path}/token`)).length
    await expectOut(visitor, await back(visitor, asked, params))
    expect((await askedUnder(`${provider.path}/token`)).length).toBe(before)
  })

  it('in another browser, and after ten minutes, and for another provider', async () => {
    const { visitor, asked } = await begun()
    const other = newVisitor(AT)
    await expectOut(other, await back(other, asked))
    await begin(other)
    await expectOut(other, await back(other, asked))
    const second = await addProvider(AT, admin, provider.issuer, { creates_users: true })
    await expectOut(visitor, await back(visitor, asked, {}, second.name))
    const tampered = newVisitor(AT)
    await begin(tampered)
    tampered.kept.set(COOKIE, `${tampered.kept.get(COOKIE)}A`)
    await expectOut(tampered, await back(tampered, asked))
  })

  it('a second time', async () => {
    const { visitor, asked } = await begun()
    const keep = visitor.kept.get(COOKIE) ?? ''
    expect((await back(visitor, asked)).location).toBe('/login?next=%2Faccount')
    const again = newVisitor(AT)
    again.kept.set(COOKIE, keep)
    await expectOut(again, await back(again, asked))
  })

  it('with a token of another login, or none; and is told apart when the provider is away', async () => {
    const { visitor, asked } = await begun()
    await give(await provider.token({ ...person(asked, 'x'), nonce: 'another-nonce' }))
    await expectOut(visitor, await back(visitor, asked))
    for (const [answer, where] of [
      [{ status: 400, body: '{"error":"invalid_grant"}' }, REFUSED],
      [{ body: '{"access_token":"x","token_type":"Bearer"}' }, REFUSED],
      [{ body: 'no' }, REFUSED],
      [{ status: 302, headers: { Location: 'http://127.0.0.1:1/' } }, '/login?said=external_away'],
      [{ status: 503 }, '/login?said=external_away'],
    ] as const) {
      const each = await begun()
      await plant({ path: `${provider.path}/token`, ...answer })
      await expectOut(each.visitor, await back(each.visitor, each.asked), where)
    }
    const login = await newVisitor(AT).ask('/login?said=external_away')
    expect(textOf(login.html)).toContain('The other service does not answer at the moment.')
  })

  it('of nobody who may come in, in words on the login page', async () => {
    const { visitor, asked } = await begun()
    expect((await patchProvider(AT, admin, at.id, { creates_users: false })).status).toBe(200)
    await expectOut(visitor, await back(visitor, asked))
    expect((await patchProvider(AT, admin, at.id, { creates_users: true })).status).toBe(200)
    expect(textOf((await visitor.ask(REFUSED)).html)).toContain('The login elsewhere was not accepted, or nobody here has it.')
  })
})

it('a provider that nobody has, that is disabled, or has no login page, is nothing at this address', async () => {
  const none = await makeProvider({ metadata: { authorization_endpoint: undefined } })
  const [off, silent] = [
    await addProvider(AT, admin, provider.issuer, { is_enabled: false }),
    await addProvider(AT, admin, none.issuer, { type: 'firebase' }),
  ]
  for (const name of ['nobody', off.name, silent.name, 'a%20b', '%00']) {
    const shown = await newVisitor(AT).ask(`/login/external/${name}`)
    expect(shown.status, name).toBe(404)
  }
  expect((await newVisitor(AT).ask('/login')).html).not.toContain(off.name)
})

it('a login page on a host of the network inside is not led to', async () => {
  const bad = await makeProvider({ metadata: { authorization_endpoint: 'http://10.0.0.1/authorize' } })
  const { name } = await addProvider(AT, admin, bad.issuer)
  expect((await newVisitor(AT).ask(`/login/external/${name}`)).location).toBe('/login?said=external_away')
})
