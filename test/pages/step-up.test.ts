/** Threat: who finds an account open makes a key on its page; or somebody who confirms their password loses what they had filled in. */
import { sql } from 'drizzle-orm'
import { beforeAll, expect, it } from 'vitest'
import { switchOn, wrongCode } from '../factors/cast.ts'
import { newAuthenticator } from '../passkeys/authenticator.ts'
import { addPerson, type Inside, inside, type Person, takePassword } from '../support/inside.ts'
import { originOf } from '../support/jar.ts'
import { call } from '../support/people.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { codeOf } from '../support/totp.ts'
import { hiddenIn, newVisitor, tagIn, textOf, type Visitor } from '../support/visitors.ts'

const AT = 'pages-step-up'
const KEYS = '/account/api-keys'
const STEP_UP = '/account/step-up'
let realm: Inside

beforeAll(async () => {
  await copyTenant(AT)
  realm = await inside(AT)
})

/** Somebody at the page of their keys who logged in an hour ago, and the form as they filled it in. */
async function late(username: string): Promise<{ cy: Person; visitor: Visitor; form: Record<string, string> }> {
  const cy = await addPerson(realm, username)
  const visitor = newVisitor(AT)
  await visitor.logIn(cy.email, cy.password)
  await realm.asOwner(sql`update freehold.sessions set created_at = now() - interval '1 hour' where user_id = ${cy.id}`)
  const { html } = await visitor.ask(KEYS)
  return { cy, visitor, form: { ...hiddenIn(html, KEYS), name: 'Printer & "co"', permissions: 'user:read', expires: '30' } }
}

const keyIn = (html: string) => /fh_[\w-]{20,}/.exec(textOf(html))?.[0]
const wrongIn = (html: string) => html.includes('id="step_up_password-wrong"')

it('a form that asks for a newer login asks for the password, and goes on with what was filled in, without script', async () => {
  const { cy, visitor, form } = await late('cy')
  const asked = await visitor.ask(KEYS, { form })
  expect([asked.status, tagIn(asked.html, 'form', { action: STEP_UP })?.method]).toEqual([401, 'post'])
  expect(asked.headers.get('WWW-Authenticate')).toMatch(/error="insufficient_user_authentication".*max_age="600"/)
  expect(textOf(asked.html)).toContain('Confirm that it is you')
  expect(keyIn(asked.html)).toBeUndefined()
  const waiting = hiddenIn(asked.html, STEP_UP)
  expect(waiting).toMatchObject(form)
  const body = { ...waiting, step_up_password: cy.password }
  const confirmed = await visitor.ask(STEP_UP, { form: body })
  // A browser repeats the request as it was: method, fields and all.
  expect([confirmed.status, confirmed.location, confirmed.trips]).toEqual([307, KEYS, 2])
  const made = await visitor.ask(KEYS, { form: body })
  expect([made.status, made.trips]).toEqual([200, 1])
  const who = await call(AT, '/api/v1/auth/whoami', { headers: { 'X-API-Key': keyIn(made.html) ?? '' } })
  expect(who.body.api_key.name).toBe(form.name)
})

it('a field that was sent more than once waits with all its values', async () => {
  const { visitor, form } = await late('dee')
  const raw = `${new URLSearchParams(form)}&permissions=user%3Aupdate`
  const asked = await visitor.ask(KEYS, { raw })
  expect(asked.html.match(/name="permissions" value="[^"]+"/g)).toEqual([
    'name="permissions" value="user:read"',
    'name="permissions" value="user:update"',
  ])
})

it('a wrong password is told at its field, and what was filled in stays', async () => {
  const { visitor, form } = await late('eve')
  const waiting = hiddenIn((await visitor.ask(KEYS, { form })).html, STEP_UP)
  const wrong = await visitor.ask(STEP_UP, { form: { ...waiting, step_up_password: 'Wrong-1' } })
  expect([wrong.status, wrongIn(wrong.html)]).toEqual([401, true])
  expect(hiddenIn(wrong.html, STEP_UP)).toEqual(waiting)
  const none = await visitor.ask(STEP_UP, { form: waiting })
  expect([none.status, wrongIn(none.html)]).toEqual([400, true])
  expect((await visitor.ask(KEYS)).status).toBe(200)
})

it('a code and a passkey are asked for of who has them, beside the password or in its place, and a code goes on', async () => {
  const { cy, visitor, form } = await late('hal')
  const { secret } = await switchOn(AT, await tokenOf(realm, 'hal'))
  await realm.asOwner(
    sql`insert into freehold.passkeys (id, user_id, credential_id, public_key, counter, rp_id, name, aaguid, is_synced)
        values (gen_random_uuid(), ${cy.id}, '\\x02', '\\x01', 0, ${`${AT}.freehold.test`}, 'Phone', gen_random_uuid(), false)`,
  )
  const asked = await visitor.ask(KEYS, { form })
  expect(asked.html).toContain('name="step_up_password"')
  expect(asked.html).toContain('name="step_up_code"')
  expect(asked.html).toContain('name="step_up_passkey"')
  expect(textOf(asked.html)).toContain('Confirm with a passkey')
  const waiting = hiddenIn(asked.html, STEP_UP)
  const wrong = await visitor.ask(STEP_UP, { form: { ...waiting, step_up_code: wrongCode(secret) } })
  expect([wrong.status, wrong.html.includes('id="step_up_code-wrong"')]).toEqual([401, true])
  const broken = await visitor.ask(STEP_UP, { form: { ...waiting, step_up_passkey: '{' } })
  expect(broken.status).toBe(400)
  const confirmed = await visitor.ask(STEP_UP, { form: { ...waiting, step_up_code: codeOf(secret) } })
  expect([confirmed.status, confirmed.location]).toEqual([307, KEYS])
  await takePassword(realm, 'hal')
  await realm.asOwner(sql`update freehold.sessions set authenticated_at = now() - interval '1 hour' where user_id = ${cy.id}`)
  const without = await visitor.ask(KEYS, { form })
  expect(without.html).not.toContain('name="step_up_password"')
})

it('nothing is sent on to another place, or by another page', async () => {
  const { cy, visitor, form } = await late('fay')
  const waiting = hiddenIn((await visitor.ask(KEYS, { form })).html, STEP_UP)
  const body = { ...waiting, step_up_password: cy.password }
  for (const changed of [{ step_up_to: 'https://evil.test/' }, { step_up_to: '/account/password' }, { step_up_form: 'x' }]) {
    const answer = await visitor.ask(STEP_UP, { form: { ...body, ...changed } })
    expect([answer.status, answer.location]).toEqual([303, '/account'])
  }
  const foreign = await visitor.ask(STEP_UP, { form: body, headers: { Origin: 'https://evil.test' } })
  expect(foreign.status).toBe(403)
  const other = newVisitor(AT)
  await other.logIn(cy.email, cy.password)
  expect((await other.ask(STEP_UP, { form: body })).location).toBe('/account')
  expect((await newVisitor(AT).ask(STEP_UP, { form: body })).location).toMatch(/^\/login/)
})

it('says it in Spanish', async () => {
  const { visitor, form } = await late('gus')
  const asked = await visitor.ask(KEYS, { form, headers: { 'Accept-Language': 'es' } })
  expect(textOf(asked.html)).toContain('Confirma que eres tú')
})

it('the pages of passkeys and of the app ask for both factors of who has two, and for a newer login of everybody', async () => {
  const { cy, visitor } = await late('ivy')
  await switchOn(AT, await tokenOf(realm, 'ivy'))
  await realm.asOwner(sql`update freehold.sessions set created_at = now() where user_id = ${cy.id}`)
  await realm.asOwner(
    sql`insert into freehold.passkeys (id, user_id, credential_id, public_key, counter, rp_id, name, aaguid, is_synced)
        values (gen_random_uuid(), ${cy.id}, '\\x03', '\\x01', 0, ${`${AT}.freehold.test`}, 'Phone', gen_random_uuid(), false)`,
  )
  const { html } = await visitor.ask('/account/passkeys')
  const options = JSON.parse(tagIn(html, 'form', { action: '/account/passkeys' })?.['data-options'] ?? '')
  const credential = JSON.stringify(await (await newAuthenticator(originOf(AT))).create(options))
  for (const action of ['/account/passkeys', '/account/passkeys/remove']) {
    const form = { ...hiddenIn(html, action), ...(action === '/account/passkeys' && { credential }) }
    const asked = await visitor.ask(action, { form })
    expect([asked.status, asked.html.includes('name="step_up_code"')], action).toEqual([401, true])
    expect(asked.html).not.toContain('name="step_up_password"')
    expect(asked.headers.get('WWW-Authenticate')).toContain('acr_values="aal2"')
  }
  const { cy: gil, visitor: old } = await late('gil-of-old')
  const form = hiddenIn((await old.ask('/account/mfa')).html, '/account/mfa/setup')
  const asking = await old.ask('/account/mfa/setup', { form })
  expect([asking.status, asking.html.includes('name="step_up_password"')]).toEqual([401, true])
  expect(asking.headers.get('WWW-Authenticate')).toContain('acr_values="aal1"')
  const proof = { ...hiddenIn(asking.html, STEP_UP), step_up_password: gil.password }
  expect((await old.ask(STEP_UP, { form: proof })).location).toBe('/account/mfa/setup')
  expect((await old.ask('/account/mfa/setup', { form: proof })).status).toBe(200)
})
