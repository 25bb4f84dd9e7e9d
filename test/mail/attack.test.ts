/** Threat: somebody has the tenant send their own words to people who do not know them. */
import { sql } from 'drizzle-orm'
import { beforeAll, expect, it } from 'vitest'
import { addPerson, type Inside, inside } from '../support/inside.ts'
import { mailsTo } from '../support/mails.ts'
import { call, login, makeTenant } from '../support/people.ts'

const AT = 'mail-attack'
const BAIT = 'your account was robbed, call +1 555 0100 or see https://evil.test/now'
let realm: Inside
beforeAll(async () => {
  await makeTenant(AT)
  realm = await inside(AT)
})

it('who wants another address has nothing of theirs sent to it, because it may be a stranger’s', async () => {
  const mallory = await addPerson(realm, 'mallory')
  await realm.asOwner(sql`update freehold.users set given_name = ${BAIT}, family_name = ${BAIT} where id = ${mallory.id}`)
  const { access_token: token } = await login(AT, { body: { username: 'mallory', password: mallory.password } })
  const body = { new_email: 'victim@elsewhere.test', current_password: mallory.password }
  expect((await call(AT, '/api/v1/auth/email-change', { token, body })).status).toBe(202)
  const [mail] = await mailsTo('victim@elsewhere.test')
  for (const part of [mail?.subject, mail?.text, mail?.html]) expect(part).not.toMatch(/evil\.test|robbed|mallory/)
  expect(mail?.token).toBeTruthy()
})

it('who registers has none of the names that they gave sent to the address that they gave', async () => {
  await realm.asOwner(sql`update freehold.tenant set registration = true`)
  const body = {
    email: 'other@elsewhere.test',
    username: 'evil.test',
    given_name: BAIT,
    family_name: BAIT,
    password: 'Violet-Anchor-38',
  }
  expect((await call(AT, '/api/v1/auth/register', { body })).status).toBe(202)
  const [mail] = await mailsTo('other@elsewhere.test')
  for (const part of [mail?.subject, mail?.text, mail?.html]) expect(part).not.toMatch(/evil\.test|robbed/)
})
