/** The pages that a mail leads to, in workerd: a forgotten password, a registration, an address that is verified or changed. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { addPerson, type Inside, inside } from '../support/inside.ts'
import { linksTo, mailsTo } from '../support/mails.ts'
import { copyTenant } from '../support/tenants.ts'
import { hiddenIn, newVisitor, tagIn, textOf } from '../support/visitors.ts'

const AT = 'pages-mails'
const OTHER = 'pages-mails-other'
const NEW = 'Evening-orchard-gate-62'
let realm: Inside

beforeAll(async () => {
  await Promise.all([
    copyTenant(AT, { admin_email: 'bo@pages-mails.test' }),
    copyTenant(OTHER, { admin_email: 'bo@pages-other.test' }),
  ])
  realm = await inside(AT)
  await realm.asOwner(sql`update freehold.tenant set registration = true, password_history = 0`)
})

const BO = 'bo@pages-mails.test'
const set = (token: string | null | undefined, new_password = NEW) => ({ token: token ?? '', new_password })

/** Asks for a link on the page, and gives the code of the mail: of those with a code, this one. */
async function codeFor(email: string, count: number): Promise<string> {
  const asked = await newVisitor(AT).send('/reset-password?step=ask', '/reset-password', { email })
  expect([asked.status, asked.location]).toEqual([303, '/reset-password?said=mail_sent'])
  return (await linksTo(email, count)).at(-1) ?? ''
}

describe('a forgotten password', () => {
  it('is set with the code of the mail, once; the second time the page says so and offers another mail', async () => {
    const visitor = newVisitor(AT)
    const token = await codeFor(BO, 1)
    expect(token).toHaveLength(32)
    const page = await visitor.ask('/reset-password?said=mail_sent')
    expect(tagIn(page.html, 'input', { name: 'token' })).toMatchObject({ 'data-token': 'true', autocomplete: 'one-time-code' })
    const form = hiddenIn(page.html, '/reset-password/confirm')
    const weak = await visitor.ask('/reset-password/confirm', { form: { ...form, ...set(token, 'short') } })
    expect([weak.status, tagIn(weak.html, 'input', { name: 'new_password' })?.['aria-invalid']]).toEqual([400, 'true'])
    expect(tagIn(weak.html, 'input', { name: 'token' })?.value).toBe(token)
    const done = await visitor.ask('/reset-password/confirm', { form: { ...form, ...set(token) } })
    expect([done.status, done.location]).toEqual([303, '/login?said=password_set'])
    const twice = await visitor.ask('/reset-password/confirm', { form: { ...form, ...set(token) } })
    expect([twice.status, tagIn(twice.html, 'input', { name: 'token' })?.['aria-invalid']]).toEqual([400, 'true'])
    expect(textOf(twice.html)).toMatch(/used or expired.*No link yet, or it does not work any more\?/)
    expect(hiddenIn(twice.html, '/reset-password')).toHaveProperty('form')
    await visitor.logIn(BO, NEW)
  })

  it('with a code that is cut off, invented, of another tenant, expired or over-long is refused at the field of the code', async () => {
    const token = await codeFor(BO, 2)
    const visitor = newVisitor(AT)
    const form = hiddenIn((await visitor.ask('/reset-password')).html, '/reset-password/confirm')
    await newVisitor(OTHER).send('/reset-password', '/reset-password', { email: 'bo@pages-other.test' })
    const foreign = (await linksTo('bo@pages-other.test')).at(-1)
    const refuse = async (wrong: string | null | undefined) => {
      const shown = await visitor.ask('/reset-password/confirm', { form: { ...form, ...set(wrong) } })
      expect([wrong?.slice(0, 40), shown.status]).toEqual([wrong?.slice(0, 40), 400])
      expect(tagIn(shown.html, 'input', { name: 'token' })).toMatchObject({ 'aria-invalid': 'true' })
    }
    expect(foreign).toHaveLength(32)
    for (const wrong of [token.slice(0, -1), 'invented', foreign, '', 'x'.repeat(600)]) await refuse(wrong)
    await realm.asOwner(sql`update freehold.one_time_tokens set expires_at = now()`)
    await refuse(token)
  })

  it('of an address that nobody has gets the same answer, and one that is none is told at its field', async () => {
    const known = await newVisitor(AT).send('/reset-password?step=ask', '/reset-password', { email: 'nobody@acme.test' })
    expect([known.status, known.location]).toEqual([303, '/reset-password?said=mail_sent'])
    const wrong = await newVisitor(AT).send('/reset-password?step=ask', '/reset-password', { email: 'no address' })
    expect([wrong.status, tagIn(wrong.html, 'input', { name: 'email' })]).toMatchObject([
      400,
      { 'aria-invalid': 'true', value: 'no address' },
    ])
  })
})

describe('a page that the link of a mail leads to', () => {
  it.each([
    ['/reset-password', '/reset-password/confirm'],
    ['/verify-email', '/verify-email'],
    ['/email-change', '/email-change/confirm'],
  ])(
    '%s takes its form also from a browser that is logged in, whose session does not come with the link',
    async (page, action) => {
      const visitor = newVisitor(AT)
      await visitor.ask('/login')
      const Cookie = [...visitor.kept].map((pair) => pair.join('=')).join('; ')
      const hal = await addPerson(realm, `hal-${page.slice(1, 4)}`)
      await visitor.logIn(hal.email, hal.password)
      const shown = await visitor.ask(page, { headers: { Cookie, 'Sec-Fetch-Site': 'cross-site' } })
      const sent = await visitor.ask(action, { form: { ...hiddenIn(shown.html, action), token: 'invented' } })
      expect([sent.status, textOf(sent.html).includes('nothing was changed')]).toEqual([400, false])
    },
  )
})

describe('a registration', () => {
  it('is offered where the tenant allows it, and elsewhere says who makes accounts', async () => {
    expect((await newVisitor(AT).ask('/login')).html).toContain('href="/register"')
    expect((await newVisitor(OTHER).ask('/login')).html).not.toContain('href="/register"')
    const closed = await newVisitor(OTHER).ask('/register')
    expect([closed.status, closed.html.includes('<form')]).toEqual([200, false])
    expect(textOf(closed.html)).toContain('Accounts are made by an administrator here.')
  })

  it('in one browser is the address, the mail, the code, and then the login', async () => {
    const [email, password] = ['eve@pages-mails.test', 'Quiet-meadow-bridge-17']
    const visitor = newVisitor(AT)
    const weak = await visitor.send('/register', '/register', { email, password: 'short' })
    expect([weak.status, tagIn(weak.html, 'input', { name: 'password' })?.['aria-invalid']]).toEqual([400, 'true'])
    const sent = await visitor.send('/register', '/register', { email, password })
    expect([sent.status, sent.location]).toEqual([303, '/verify-email?said=registered'])
    const [mail] = await mailsTo(email)
    const verified = await visitor.send('/verify-email', '/verify-email', { token: mail?.token ?? '' })
    expect([verified.status, verified.location, verified.trips]).toEqual([303, '/login?said=verified_again', 1])
    expect(visitor.kept.has('__Host-fh_registration')).toBe(false)
    await visitor.logIn(email, password)
    const twice = await newVisitor(AT).send('/verify-email', '/verify-email', { token: mail?.token ?? '' })
    expect([twice.status, textOf(twice.html).includes('No mail, or its link does not work any more?')]).toEqual([400, true])
  })

  it('that is confirmed in another browser asks for a password there', async () => {
    const email = 'fay@pages-mails.test'
    await newVisitor(AT).send('/register', '/register', { email, password: 'Quiet-meadow-bridge-17' })
    const [mail] = await mailsTo(email)
    const visitor = newVisitor(AT)
    const asked = await visitor.send('/verify-email', '/verify-email', { token: mail?.token ?? '' })
    expect([asked.status, tagIn(asked.html, 'input', { name: 'token' })?.value]).toEqual([200, mail?.token])
    expect(textOf(asked.html)).toContain('Choose a password for your account.')
    const form = hiddenIn(asked.html, '/verify-email')
    const weak = await visitor.ask('/verify-email', { form: { ...form, ...set(mail?.token, 'short') } })
    expect([weak.status, tagIn(weak.html, 'input', { name: 'new_password' })?.['aria-invalid']]).toEqual([400, 'true'])
    const done = await visitor.ask('/verify-email', { form: { ...form, ...set(mail?.token) } })
    expect(done.location).toBe('/login?said=verified_again')
    await visitor.logIn(email, NEW)
  })

  it('of a known address gets the same answer', async () => {
    const sent = await newVisitor(AT).send('/register', '/register', { email: BO, password: 'Quiet-meadow-bridge-17' })
    expect([sent.status, sent.location]).toEqual([303, '/verify-email?said=registered'])
    const again = await newVisitor(AT).send('/verify-email', '/verify-email/resend', { email: BO })
    expect([again.status, again.location]).toEqual([303, '/verify-email?said=mail_again'])
  })
})

describe('a new address', () => {
  it('takes the password, and counts once its mail is confirmed, also in a browser that just registered somebody', async () => {
    const gil = await addPerson(realm, 'gil')
    const visitor = newVisitor(AT)
    await visitor.logIn(gil.email, gil.password)
    const wrong = await visitor.send('/email-change', '/email-change', {
      new_email: 'gil@pages-mails.test',
      current_password: 'nope',
    })
    expect([wrong.status, tagIn(wrong.html, 'input', { name: 'current_password' })?.['aria-invalid']]).toEqual([401, 'true'])
    expect(tagIn(wrong.html, 'input', { name: 'new_email' })?.value).toBe('gil@pages-mails.test')
    const fields = { new_email: 'gil@pages-mails.test', current_password: gil.password }
    const asked = await visitor.send('/email-change', '/email-change', fields)
    expect([asked.status, asked.location, asked.trips]).toEqual([303, '/email-change?said=email_asked', 2])
    const [mail] = await mailsTo('gil@pages-mails.test')
    expect(mail?.text).toContain(`/verify-email#token=${mail?.token}`)
    // Whoever reads the mail need not be logged in there.
    const reader = newVisitor(AT)
    const page = await reader.ask('/email-change')
    expect([page.status, page.html.includes('name="new_email"')]).toEqual([200, false])
    const invented = await reader.send('/email-change', '/email-change/confirm', { token: 'invented' })
    expect([invented.status, tagIn(invented.html, 'input', { name: 'token' })?.['aria-invalid']]).toEqual([400, 'true'])
    visitor.kept.set('__Host-fh_registration', 'x'.repeat(43))
    const done = await visitor.send('/email-change', '/email-change/confirm', { token: mail?.token ?? '' })
    expect([done.location, done.trips]).toEqual(['/account?said=verified', 1])
    expect(textOf((await visitor.ask(done.location ?? '')).html)).toMatch(/Your address is confirmed\..*gil@pages-mails\.test/)
    const twice = await reader.send('/email-change', '/email-change/confirm', { token: mail?.token ?? '' })
    expect([twice.status, textOf(twice.html).includes('used or expired')]).toEqual([400, true])
  })

  it('that somebody else asked for is confirmed by nobody who registers with it, unless they say that it is theirs', async () => {
    const mallory = await addPerson(realm, 'mallory')
    const attacker = newVisitor(AT)
    await attacker.logIn(mallory.email, mallory.password)
    const address = 'victim@pages-mails.test'
    await attacker.send('/email-change', '/email-change', { new_email: address, current_password: mallory.password })
    const [mail] = await mailsTo(address)
    const victim = newVisitor(AT)
    victim.kept.set('__Host-fh_registration', 'x'.repeat(43))
    const asked = await victim.send('/verify-email', '/verify-email', { token: mail?.token ?? '' })
    expect([asked.status, textOf(asked.html).includes('Go on only if you asked for that.')]).toEqual([200, true])
    const emailOf = async () => (await realm.asOwner(sql`select email from freehold.users where id = ${mallory.id}`))[0]?.email
    expect(await emailOf()).toBe(mallory.email)
    const form = hiddenIn(asked.html, '/verify-email')
    expect(form.of_account).toBe('yes')
    const done = await victim.ask('/verify-email', { form: { ...form, token: mail?.token ?? '' } })
    expect([done.status, await emailOf()]).toEqual([303, address])
  })
})
