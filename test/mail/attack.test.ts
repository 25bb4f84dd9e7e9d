/** Threat: somebody has the tenant send their own words to people who do not know them; a server whose answer keeps all mails waiting. */
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { beforeAll, expect, inject, it } from 'vitest'
import { parseSettings } from '../../src/kernel/config.ts'
import { deliverRealm } from '../../src/mail/delivery.ts'
import { MailSender } from '../../src/mail/sender.ts'
import { lookUp } from '../../src/tenants/registry/registry.ts'
import { maintainLater, settings } from '../support/databases.ts'
import { addPerson, type Inside, inside } from '../support/inside.ts'
import { mailsTo } from '../support/mails.ts'
import { call } from '../support/people.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

const AT = 'mail-attack'
const BAIT = 'your account was robbed, call +1 555 0100 or see https://evil.test/now'
let realm: Inside
beforeAll(async () => {
  await copyTenant(AT)
  realm = await inside(AT)
})

it('who wants another address has nothing of theirs sent to it, because it may be a stranger’s', async () => {
  const mallory = await addPerson(realm, 'mallory')
  await realm.asOwner(sql`update freehold.users set given_name = ${BAIT}, family_name = ${BAIT} where id = ${mallory.id}`)
  const token = await tokenOf(AT, 'mallory')
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

it('what a server says of one mail is kept as far as it can be, and keeps no other waiting', async () => {
  // A tenant of its own: what the requests above left to deliver would take these mails, too.
  const { id } = await copyTenant(`${AT}-answers`)
  await maintainLater(id)
  const { asOwner } = await inside(`${AT}-answers`)
  const { MAILBOX_URL, ...given } = inject('settings')
  const says = (to: string) =>
    to.startsWith('odd')
      ? Promise.reject(Object.assign(new Error('no\0pe \ud83d'), { code: 'E_RECIPIENT_SUPPRESSED' }))
      : Promise.resolve()
  const EMAIL = { send: ({ to }: { to: string }) => says(to) }
  const found = await lookUp({ env, config: settings(), meter: { master: 0 } }, `${AT}-answers`)
  if (!found?.realm) throw new Error('The tenant has no realm.')
  for (const to of ['odd@answers.test', 'even@answers.test'])
    await asOwner(sql`select access.enqueue_mail('password_changed', null, ${to})`)
  const config = parseSettings({ ...given, EMAIL, MAIL_FROM: 'a@b.test' })
  expect(await deliverRealm(config, found.realm, new MailSender(config), Date.now() + 10_000)).toBe(1)
  const rows = await asOwner(
    sql`select m.recipient, m.state, a.detail from freehold.mails m join freehold.mail_attempts a on a.mail_id = m.id where m.recipient like '%@answers.test' order by 1`,
  )
  expect(rows).toEqual([
    { recipient: 'even@answers.test', state: 'sent', detail: null },
    { recipient: 'odd@answers.test', state: 'dead', detail: 'EMAIL: E_RECIPIENT_SUPPRESSED no pe \ufffd' },
  ])
})
