/** Threat: whoever was in an open session has the account erased, and its owner, who gets the mail, cannot stop it without a login. */
import { beforeAll, expect, it } from 'vitest'
import { addPerson, type Inside, inside } from '../support/inside.ts'
import { mailsTo } from '../support/mails.ts'
import { call } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { newVisitor } from '../support/visitors.ts'

const AT = 'personal-page'
let realm: Inside

beforeAll(async () => {
  await copyTenant(AT)
  realm = await inside(AT)
})

it('the link of the mail leads to a page that cancels the erasure, once the form is sent', async () => {
  const who = await addPerson(realm, 'keeps-it')
  const token = await tokenOf(AT, who.username)
  expect((await call(AT, '/api/v1/auth/me/erase', { token, body: {} })).status).toBe(202)
  const [mail] = await mailsTo(who.email)
  expect(mail?.text).toContain(`/cancel-erasure#token=${mail?.token}`)
  const visitor = newVisitor(AT)
  expect((await visitor.ask('/cancel-erasure')).status).toBe(200)
  expect((await call(AT, '/api/v1/auth/me/erase', { token })).status).toBe(200)
  const wrong = await visitor.send('/cancel-erasure', '/cancel-erasure', { token: `${mail?.token?.slice(0, -1)}_` })
  expect(wrong.status).toBe(400)
  const done = await newVisitor(AT).send('/cancel-erasure', '/cancel-erasure', { token: mail?.token ?? '' })
  expect([done.status, done.location]).toEqual([303, '/login?said=kept'])
  expectProblem(await call(AT, '/api/v1/auth/me/erase', { token }), 404, 'not_found')
})
