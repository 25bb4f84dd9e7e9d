/** The mailed code of a risky login on the pages, in workerd and without script: entered, mistyped, and mailed again. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { wrongOf } from '../email-login/cast.ts'
import { addProvider, type Made, makeProvider, plant } from '../external/cast.ts'
import { enter, headersOf, hoursPass, LIMA, OSLO, set } from '../risk/cast.ts'
import { addPerson, type Inside, inside, type Person } from '../support/inside.ts'
import { nameOf } from '../support/jar.ts'
import { mailsTo } from '../support/mails.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { hiddenIn, newVisitor, tagIn, textOf, type Visitor } from '../support/visitors.ts'

const AT = 'pages-risky'
const [CODE, RESEND] = ['/login/code', '/login/code/resend']
let realm: Inside
let admin: string
let provider: Made
let at: Awaited<ReturnType<typeof addProvider>>

beforeAll(async () => {
  await copyTenant(AT)
  realm = await inside(AT)
  admin = await tokenOf(AT)
  provider = await makeProvider()
  at = await addProvider(AT, admin, provider.issuer, { creates_users: true, links_by_email: true })
})

/** Somebody who was in Lima an hour ago. */
async function known(username: string): Promise<Person> {
  const who = await addPerson(realm, username)
  await enter(AT, who, LIMA)
  await hoursPass(realm, who, 1)
  return who
}
/** A browser in Oslo, which has sent the right password. */
async function atCode(who: Person, more: Record<string, string> = {}) {
  const visitor = newVisitor(AT, { ...headersOf(OSLO), ...more })
  const step = await visitor.send('/login?next=/account/passkeys', '/login', { username: who.email, password: who.password })
  expect([step.status, step.trips], textOf(step.html)).toEqual([200, 2])
  return { visitor, step }
}
const codesOf = async (who: { email: string }, count: number) =>
  (await mailsTo(who.email, count)).flatMap(({ text }) => /^\d{8}$/m.exec(text)?.[0] ?? [])
const halfAMinutePasses = (who: Person) =>
  realm.asOwner(sql`update freehold.login_challenges set mailed_at = mailed_at - interval '30 seconds' where user_id = ${who.id}`)
const isIn = (visitor: Visitor, { id }: { id: string }) => visitor.kept.has(nameOf('a', id))

describe('after a risky login', () => {
  it('the page asks for the eight digits of the mail, and goes on with them to where somebody wanted, in one round trip', async () => {
    const ann = await known('ann-pages')
    const { visitor, step } = await atCode(ann)
    expect(textOf(step.html)).toContain('This login is unusual for your account.')
    expect(tagIn(step.html, 'input', { name: 'code' })).toMatchObject({ autocomplete: 'one-time-code', inputmode: 'numeric' })
    expect(tagIn(step.html, 'input', { name: 'remember_device' })).toBeNull()
    expect(isIn(visitor, ann)).toBe(false)
    const [code = ''] = await codesOf(ann, 1)
    const done = await visitor.ask(CODE, { form: { ...hiddenIn(step.html, CODE), code: code.replace(/^..../, '$& ') } })
    expect([done.status, done.location, done.trips]).toEqual([303, '/account/passkeys', 1])
    expect(isIn(visitor, ann)).toBe(true)
  })

  it('what is no such code is told at its field, and a wrong one too; the form stays one for mailed codes', async () => {
    const bea = await known('bea-pages')
    const { visitor, step } = await atCode(bea, { 'Accept-Language': 'es' })
    const [code = ''] = await codesOf(bea, 1)
    let form = hiddenIn(step.html, CODE)
    for (const [typed, status, said] of [
      ['123456', 400, 'Debe tener 8 cifras.'],
      ['7Q2M-XK4D-9RTP', 400, 'Debe tener 8 cifras.'],
      [wrongOf(code), 401, 'El código no es correcto, ya se usó o llegó tarde.'],
    ] as const) {
      const shown = await visitor.ask(CODE, { form: { ...form, code: typed } })
      expect([shown.status, tagIn(shown.html, 'input', { name: 'code' })?.['aria-invalid']], typed).toEqual([status, 'true'])
      expect(textOf(shown.html)).toContain(said)
      form = hiddenIn(shown.html, CODE)
    }
    expect((await visitor.ask(CODE, { form: { ...form, code } })).location).toBe('/account/passkeys')
  })

  it('a button mails another code, says so, and keeps where somebody wanted to go', async () => {
    const cal = await known('cal-pages')
    const { visitor, step } = await atCode(cal)
    const [former = ''] = await codesOf(cal, 1)
    expect(textOf(step.html)).toContain('E-mail me another code')
    const soon = await visitor.ask(RESEND, { form: hiddenIn(step.html, RESEND) })
    expect([soon.status, textOf(soon.html).includes('A code was mailed just now.')]).toEqual([429, true])
    expect(Number(soon.headers.get('Retry-After'))).toBeGreaterThan(0)
    await halfAMinutePasses(cal)
    const sent = await visitor.ask(RESEND, { form: hiddenIn(soon.html, RESEND) })
    expect([sent.status, sent.trips]).toEqual([200, 1])
    expect(textOf(sent.html)).toContain('Another code is on its way to you.')
    const code = (await codesOf(cal, 2)).find((one) => one !== former) ?? ''
    const form = hiddenIn(sent.html, CODE)
    expect((await visitor.ask(CODE, { form: { ...form, code: former } })).status).toBe(401)
    expect((await visitor.ask(CODE, { form: { ...form, code } })).location).toBe('/account/passkeys')
  })

  it('the third mail is the last, and of a login that has ended the page says so', async () => {
    const dov = await known('dov-pages')
    const { visitor, step } = await atCode(dov)
    const form = hiddenIn(step.html, RESEND)
    for (const status of [200, 200, 409]) {
      await halfAMinutePasses(dov)
      const shown = await visitor.ask(RESEND, { form })
      expect(shown.status).toBe(status)
      if (status === 409) expect(textOf(shown.html)).toContain('No further code is mailed for this login.')
    }
    await realm.asOwner(sql`update freehold.login_challenges set expires_at = now() where user_id = ${dov.id}`)
    const ended = await visitor.ask(RESEND, { form })
    expect([ended.status, textOf(ended.html).includes('This login has ended. Start again.')]).toEqual([401, true])
  })

  it('another browser neither has a code mailed by its form nor logs in', async () => {
    const eli = await known('eli-pages')
    const { step } = await atCode(eli)
    const [code = ''] = await codesOf(eli, 1)
    await halfAMinutePasses(eli)
    const other = newVisitor(AT, headersOf(OSLO))
    await other.ask('/login')
    expect((await other.ask(RESEND, { form: hiddenIn(step.html, RESEND) })).status).toBe(403)
    expect((await other.ask(CODE, { form: { ...hiddenIn(step.html, CODE), code } })).status).toBe(403)
    expect(await codesOf(eli, 1)).toHaveLength(1)
  })
})

describe('after a risky login by a provider', () => {
  /** Out to the provider and back, as somebody of it. */
  async function through(visitor: Visitor, sub: string) {
    const begun = await visitor.ask(`/login/external/${at.name}?next=/account/passkeys`)
    const { state = '', nonce = '' } = Object.fromEntries(new URL(begun.location ?? '').searchParams)
    const id_token = await provider.token({ sub, email: `${sub}@people.test`, email_verified: true, nonce })
    await plant({ path: `${provider.path}/token`, body: JSON.stringify({ access_token: 'x', token_type: 'Bearer', id_token }) })
    return visitor.ask(`/login/external/${at.name}/callback?${new URLSearchParams({ code: 'the-code', state })}`, {
      headers: { 'Sec-Fetch-Site': 'cross-site' },
    })
  }
  /** Somebody of the provider who was in Lima an hour ago. */
  async function ofProvider(sub: string) {
    expect((await through(newVisitor(AT, headersOf(LIMA)), sub)).status).toBe(303)
    const [row] = await realm.asOwner(sql`select id from freehold.users where email = ${`${sub}@people.test`}`)
    const who = { id: String(row?.id), email: `${sub}@people.test` }
    await hoursPass(realm, who, 1)
    return who
  }

  it('the way back ends at the form of the code, which lets in and goes on', async () => {
    const who = await ofProvider('fay-pages')
    const visitor = newVisitor(AT, headersOf(OSLO))
    const step = await through(visitor, 'fay-pages')
    expect([step.status, step.trips], textOf(step.html)).toEqual([200, 2])
    expect(textOf(step.html)).toContain('we have mailed you a code')
    expect([isIn(visitor, who), visitor.kept.has('__Host-fh_external')]).toEqual([false, false])
    const [code = ''] = await codesOf(who, 1)
    const wrong = await visitor.ask(CODE, { form: { ...hiddenIn(step.html, CODE), code: wrongOf(code) } })
    expect(wrong.status).toBe(401)
    const done = await visitor.ask(CODE, { form: { ...hiddenIn(wrong.html, CODE), code } })
    expect([done.status, done.location, isIn(visitor, who)]).toEqual([303, '/account/passkeys', true])
  })

  it('a refused one is told as any that was not accepted', async () => {
    await ofProvider('gil-pages')
    await set(AT, admin, { risk_action: 'refuse' })
    const shown = await through(newVisitor(AT, headersOf(OSLO)), 'gil-pages')
    await set(AT, admin, { risk_action: 'step_up' })
    expect([shown.status, shown.location]).toEqual([303, '/login?said=external_refused'])
  })
})
