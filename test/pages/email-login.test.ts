/** Login by mail on the pages, in workerd: the code where it was asked for, and what a link is told elsewhere. */
import { beforeAll, describe, expect, it } from 'vitest'
import { allow, mailedTo, wrongOf } from '../email-login/cast.ts'
import { addPerson, type Inside, inside } from '../support/inside.ts'
import { nameOf } from '../support/jar.ts'
import { copyTenant } from '../support/tenants.ts'
import { hiddenIn, newVisitor, tagIn, textOf, type Visitor } from '../support/visitors.ts'

const AT = 'pages-by-mail'
const OFF = 'pages-no-mail'
let realm: Inside

beforeAll(async () => {
  await Promise.all([copyTenant(AT), copyTenant(OFF)])
  realm = await inside(AT)
  await allow(realm)
})

async function askedBy(visitor: Visitor, username: string) {
  const who = await addPerson(realm, username)
  const sent = await visitor.send('/login/email', '/login/email', { username: who.email })
  expect([sent.status, sent.location, sent.trips]).toEqual([303, '/login/link?said=code_sent', 1])
  return { who, ...(await mailedTo(realm, who)) }
}

describe('the login page', () => {
  it('offers a code by mail where the tenant allows it alone, and the page of it leads back elsewhere', async () => {
    const offered = await newVisitor(AT).ask('/login?next=/account/password')
    expect(tagIn(offered.html, 'a', { href: '/login/email?next=%2Faccount%2Fpassword' })).not.toBeNull()
    expect((await newVisitor(OFF).ask('/login')).html).not.toContain('/login/email')
    const closed = await newVisitor(OFF).ask('/login/email')
    expect([closed.status, closed.location]).toEqual([303, '/login'])
    const spanish = await newVisitor(AT).ask('/login/email', { headers: { 'Accept-Language': 'es' } })
    expect(textOf(spanish.html)).toContain('Te enviamos un código y un enlace')
  })
})

describe('the code', () => {
  it('logs in where it was asked for, in one round trip, and leads to where somebody wanted to go', async () => {
    const visitor = newVisitor(AT)
    const { who, code } = await askedBy(visitor, 'page-code')
    const page = await visitor.ask('/login/link?said=code_sent&next=/account/password')
    expect(tagIn(page.html, 'input', { name: 'token' })).toMatchObject({ autocomplete: 'one-time-code', 'data-token': 'true' })
    const form = hiddenIn(page.html, '/login/link')
    const wrong = await visitor.ask('/login/link', { form: { ...form, token: wrongOf(code) } })
    expect([wrong.status, tagIn(wrong.html, 'input', { name: 'token' })?.['aria-invalid']]).toEqual([401, 'true'])
    const done = await visitor.ask('/login/link', { form: { ...form, token: ` ${code} ` } })
    expect([done.status, done.location, done.trips]).toEqual([303, '/account/password', 1])
    expect(visitor.kept.has(nameOf('a', who.id))).toBe(true)
    expect(visitor.kept.has('__Host-fh_email_login')).toBe(false)
  })

  it('is told in another browser where it works, and what is none is told at its field', async () => {
    const { code } = await askedBy(newVisitor(AT), 'page-elsewhere')
    for (const token of [code, '12345', 'x'.repeat(513)]) {
      const shown = await newVisitor(AT).send('/login/link', '/login/link', { token })
      expect([token.length, tagIn(shown.html, 'input', { name: 'token' })?.['aria-invalid']]).toEqual([token.length, 'true'])
      if (token === code) expect(textOf(shown.html)).toContain('Works only in the browser that asked for it')
    }
  })
})

describe('the link', () => {
  it('logs in where it was asked for, and says elsewhere for whom it is before it does', async () => {
    const visitor = newVisitor(AT)
    const first = await askedBy(visitor, 'page-link')
    expect((await visitor.send('/login/link', '/login/link', { token: first.token })).location).toBe('/account')
    const second = await askedBy(newVisitor(AT), 'page-other')
    const elsewhere = newVisitor(AT)
    const shown = await elsewhere.send('/login/link', '/login/link', { token: second.token })
    expect(shown.status).toBe(200)
    expect(textOf(shown.html)).toContain(`Log in as ${second.who.username}?`)
    expect(textOf(shown.html)).toContain(second.who.email)
    expect(elsewhere.kept.has(nameOf('a', second.who.id))).toBe(false)
    const form = hiddenIn(shown.html, '/login/link')
    expect(form).toMatchObject({ token: second.token, confirm: 'yes' })
    expect((await elsewhere.ask('/login/link', { form })).location).toBe('/account')
    const again = await elsewhere.ask('/login/link', { form })
    expect([again.status, textOf(again.html)]).toEqual([401, expect.stringContaining('was used, or came too late')])
  })
})
