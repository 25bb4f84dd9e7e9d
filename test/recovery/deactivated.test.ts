/**
 * Threat: a link or a code that was sent before a deactivation works after the reactivation, for whoever has read the mailbox
 * meanwhile.
 */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Inside, inside } from '../support/inside.ts'
import { call } from '../support/people.ts'
import { expectProblem, pointers } from '../support/refusal.ts'
import { secretOf } from '../support/secrets.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { addMember } from '../users/cast.ts'

const AT = 'came-back'
let realm: Inside
let admin: string
beforeAll(async () => {
  await copyTenant(AT)
  realm = await inside(AT)
  admin = await tokenOf(AT)
})

type Member = Awaited<ReturnType<typeof addMember>>
const auth = (path: string, body: object, token?: string) => call(AT, `/api/v1/auth/${path}`, { body, ...(token && { token }) })
const manage = async ({ id }: Member, verb: 'deactivate' | 'reactivate') =>
  expect((await call(AT, `/api/v1/users/${id}/${verb}`, { token: admin, method: 'POST' })).status).toBe(200)
async function away(who: Member) {
  await manage(who, 'deactivate')
  await manage(who, 'reactivate')
}
const confirm = (token: string) => auth('password-reset/confirm', { token, new_password: 'Marble-Kettle-52' })

describe('after a deactivation and a reactivation', () => {
  it('a link to reset the password does nothing, and a new one does', async () => {
    const ana = await addMember(realm, 'ana')
    await auth('password-reset', { email: ana.email })
    const before = await secretOf(realm, 'password_reset', ana.email)
    await away(ana)
    expect(pointers(await confirm(before))).toEqual(['#/token'])
    await auth('password-reset', { email: ana.email })
    expect((await confirm(await secretOf(realm, 'password_reset', ana.email))).status).toBe(204)
  })

  it('a link that an administrator sent does nothing', async () => {
    const bea = await addMember(realm, 'bea')
    await call(AT, `/api/v1/users/${bea.id}/reset-password`, { token: admin, body: { link_only: true } })
    const link = await secretOf(realm, 'password_reset_link', bea.email)
    await away(bea)
    expect(pointers(await confirm(link))).toEqual(['#/token'])
  })

  it('a link to another address, and one that verifies the address, do nothing', async () => {
    const cal = await addMember(realm, 'cal')
    await auth('email-change', { new_email: 'cal@new.test', current_password: cal.password }, cal.token)
    const change = await secretOf(realm, 'email_change', 'cal@new.test')
    await auth('verify-email/resend', { email: cal.email })
    const verification = await secretOf(realm, 'email_verify', cal.email)
    await away(cal)
    for (const token of [change, verification]) expect(pointers(await auth('verify-email', { token }))).toEqual(['#/token'])
    const [row] = await realm.asOwner(sql`select email, email_verified from freehold.users where id = ${cal.id}`)
    expect(row).toEqual({ email: cal.email, email_verified: false })
  })

  it('a code for the phone number is wrong', async () => {
    const dan = await addMember(realm, 'dan')
    await realm.asOwner(sql`update freehold.users set phone = '+51987654321' where id = ${dan.id}`)
    await call(AT, '/api/v1/auth/phone-verification', { token: dan.token, method: 'POST' })
    const code = await secretOf(realm, 'phone_code', '+51987654321')
    await away(dan)
    const token = await tokenOf(realm, 'dan')
    expectProblem(await auth('verify-phone', { code }, token), 400, 'invalid_request')
  })

  it('the tokens of others are left as they are', async () => {
    const [eva, flo] = [await addMember(realm, 'eva'), await addMember(realm, 'flo')]
    await auth('password-reset', { email: flo.email })
    const link = await secretOf(realm, 'password_reset', flo.email)
    await away(eva)
    expect((await confirm(link)).status).toBe(204)
  })

  it('of twenty requests for a link at once with the deactivation, no link works afterwards', async () => {
    const gus = await addMember(realm, 'gus')
    await Promise.all([
      ...Array.from({ length: 10 }, () => auth('password-reset', { email: gus.email })),
      manage(gus, 'deactivate'),
      ...Array.from({ length: 10 }, () => auth('password-reset', { email: gus.email })),
    ])
    await manage(gus, 'reactivate')
    const open = await realm.asOwner(sql`select kind from freehold.one_time_tokens where user_id = ${gus.id} and used_at is null`)
    expect(open).toEqual([])
  })

  it('an API key works again', async () => {
    const hal = await addMember(realm, 'hal', { roles: ['admin'] })
    const made = await call(AT, '/api/v1/api-keys', { token: hal.token, body: { name: 'nightly', permissions: ['unit:read'] } })
    const units = async () => (await call(AT, '/api/v1/units', { headers: { 'X-API-Key': made.body.key } })).status
    expect(await units()).toBe(200)
    await manage(hal, 'deactivate')
    expect(await units()).toBe(403)
    await manage(hal, 'reactivate')
    expect(await units()).toBe(200)
  })
})
