/** Accepting an invitation on the pages, in workerd, without script. Threat: somebody is moved by a link that they only opened. */
import { beforeAll, expect, it } from 'vitest'
import { invited, PASSWORD } from '../invitations/cast.ts'
import { type Cast, cast } from '../roles/cast.ts'
import { hiddenIn, newVisitor, tagIn, textOf } from '../support/visitors.ts'

const AT = 'pages-invited'
let all: Cast

beforeAll(async () => {
  all = await cast(AT)
})

it('a new person sees who invites them, chooses a password, and logs in', async () => {
  const made = await all.ask('/organizations', { body: { name: 'Northern Lights' } })
  const { email, token } = await invited(all.realm, all.bo.token, { organization_id: made.body.id, given_name: 'Ann' })
  const visitor = newVisitor(AT)
  const page = await visitor.ask('/invitation')
  expect([page.status, tagIn(page.html, 'input', { name: 'token' })?.['data-token']]).toEqual([200, 'true'])
  const wrong = await visitor.send('/invitation', '/invitation/show', { token: 'cut-off' })
  expect([wrong.status, tagIn(wrong.html, 'input', { name: 'token' })?.['aria-invalid']]).toEqual([400, 'true'])
  const shown = await visitor.send('/invitation', '/invitation/show', { token: ` ${token} ` })
  expect(shown.status).toBe(200)
  for (const said of ['Northern Lights', email, 'Invited by']) expect(textOf(shown.html)).toContain(said)
  expect(tagIn(shown.html, 'input', { name: 'given_name' })?.value).toBe('Ann')
  const form = hiddenIn(shown.html, '/invitation/accept')
  const weak = await visitor.ask('/invitation/accept', { form: { ...form, given_name: 'Anna', password: 'short' } })
  expect([weak.status, tagIn(weak.html, 'input', { name: 'password' })?.['aria-invalid']]).toEqual([400, 'true'])
  expect(tagIn(weak.html, 'input', { name: 'given_name' })?.value).toBe('Anna')
  const done = await visitor.ask('/invitation/accept', { form: { ...form, given_name: 'Anna', password: PASSWORD } })
  expect([done.status, done.location, done.trips]).toEqual([303, '/login?said=invited', 2])
  const entered = await visitor.send('/login?said=invited', '/login', { username: email, password: PASSWORD })
  expect([entered.status, entered.location]).toEqual([303, '/account'])
  const again = await visitor.ask('/invitation/accept', { form: { ...form, password: PASSWORD } })
  expect([again.status, tagIn(again.html, 'input', { name: 'token' })?.['aria-invalid']]).toEqual([400, 'true'])
})

it('somebody with an account logs in first, sees as whom, and accepts with a button', async () => {
  const made = await all.ask('/organizations', { body: { name: 'Southern Cross' } })
  const [who, other] = [await all.member('page-joins'), await all.member('page-other')]
  const { token } = await invited(all.realm, all.bo.token, { email: who.email, organization_id: made.body.id })
  const visitor = newVisitor(AT)
  const shown = await visitor.send('/invitation', '/invitation/show', { token })
  expect(textOf(shown.html)).toContain('There is an account with this address')
  expect(tagIn(shown.html, 'a', { href: '/invitation/join' })).not.toBeNull()
  const toLogin = await visitor.ask('/invitation/join')
  expect([toLogin.status, toLogin.location]).toEqual([303, '/login?next=%2Finvitation%2Fjoin'])
  // Somebody else who logs in here is offered no button.
  await visitor.send('/login', '/login', { username: other.email, password: other.password })
  const foreign = await visitor.ask('/invitation/join')
  expect(textOf(foreign.html)).toContain(`You are logged in as ${other.email}`)
  expect(foreign.html).not.toContain('action="/invitation/join"')
  const mine = newVisitor(AT)
  await mine.send('/invitation', '/invitation/show', { token })
  await mine.send('/login', '/login', { username: who.email, password: who.password })
  const page = await mine.ask('/invitation/join')
  expect([page.status, page.trips]).toEqual([200, 2])
  expect((await all.ask(`/users/${who.id}`)).body.organization_id).toBeNull()
  const done = await mine.ask('/invitation/join', { form: hiddenIn(page.html, '/invitation/join') })
  expect([done.status, done.location, done.trips]).toEqual([303, '/account?said=joined', 1])
  expect((await all.ask(`/users/${who.id}`)).body.organization_id).toBe(made.body.id)
  expect((await mine.ask('/invitation/join')).location).toBe('/invitation')
})

it('is in Spanish for who reads Spanish', async () => {
  const page = await newVisitor(AT).ask('/invitation', { headers: { 'Accept-Language': 'es' } })
  expect(textOf(page.html)).toContain('Tienes una invitación')
})
