/** Mails of a tenant with a name, a colour and a frontend of its own, through the doors that give the occasion. */
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { lookUp } from '../../src/tenants/registry/registry.ts'
import { master, settings } from '../support/databases.ts'
import { addPerson, type Inside, inside } from '../support/inside.ts'
import { mailsTo } from '../support/mails.ts'
import { call } from '../support/people.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

const AT = 'mailed-look'
let realm: Inside
let admin: string

beforeAll(async () => {
  await copyTenant(AT, { legal_name: 'Look Holding S.A.C.', environment: 'demo' })
  realm = await inside(AT)
  admin = await tokenOf(AT)
})

const set = async (body: object) =>
  expect((await call(AT, '/api/v1/settings', { token: admin, method: 'PATCH', body })).status).toBe(200)
const reset = (email: string) => call(AT, '/api/v1/auth/password-reset', { body: { email } })
/** The code as a line of its own, as a person would copy it. */
const codeIn = (text = '') => text.split('\n').find((line) => /^[\w-]{32}$/.test(line)) ?? ''

describe('a mail for a new password', () => {
  it('leads to the frontend of the tenant, under its name, and to its host when the link is taken away', async () => {
    const { email } = await addPerson(realm, 'amy-look')
    await set({ name: 'Look', accent_color: '#7a1f79', links: { reset_password: 'https://app.look.test/new' } })
    await reset(email)
    const [first] = await mailsTo(email)
    expect(first?.subject).toBe('Look: choose a new password')
    expect(first?.text).toContain(`\nhttps://app.look.test/new#token=${first?.token}\n`)
    expect(first?.html).toContain('background:#7a1f79;color:#ffffff')
    expect(`${first?.text}${first?.html}`).not.toContain('Holding')
    await set({ name: null, accent_color: null, links: { reset_password: null } })
    await reset(email)
    const [, second] = await mailsTo(email, 2)
    expect(second?.subject).toBe('Look Holding S.A.C.: choose a new password')
    expect(second?.text).toContain(`\nhttp://mailed-look.freehold.test/reset-password#token=${second?.token}\n`)
  })

  it('has a code that sets it as the link does', async () => {
    const { email } = await addPerson(realm, 'bea-look')
    await reset(email)
    const [mail] = await mailsTo(email)
    expect(codeIn(mail?.text)).toBe(mail?.token)
    const body = { token: codeIn(mail?.text), new_password: 'Marble-Kettle-52' }
    expect((await call(AT, '/api/v1/auth/password-reset/confirm', { body })).status).toBe(204)
  })

  it('leads to localhost while the tenant is a demo, and not when it is one no more', async () => {
    const { email } = await addPerson(realm, 'cal-look')
    await set({ links: { reset_password: 'http://localhost:3000/new' } })
    await reset(email)
    expect((await mailsTo(email))[0]?.text).toContain('\nhttp://localhost:3000/new#token=')
    await master(sql`update platform.tenants set environment = 'production' where subdomain = ${AT}`)
    // As memory and KV find out by themselves, within a minute.
    await lookUp({ env, config: settings(), meter: { master: 0 } }, AT, true)
    await reset(email)
    expect((await mailsTo(email, 2))[1]?.text).toContain('\nhttp://mailed-look.freehold.test/reset-password#token=')
    await set({ links: null })
  })
})

describe('a mail for a new address', () => {
  it('leads to the page that confirms addresses, or to the one of the tenant, and its code changes the address', async () => {
    const { password } = await addPerson(realm, 'dan-look')
    const token = await tokenOf(AT, 'dan-look')
    const body = { new_email: 'dan-new-look@people.test', current_password: password }
    expect((await call(AT, '/api/v1/auth/email-change', { token, body })).status).toBe(202)
    const [mail] = await mailsTo(body.new_email)
    expect(mail?.text).toContain(`\nhttp://mailed-look.freehold.test/verify-email#token=${mail?.token}\n`)
    expect((await call(AT, '/api/v1/auth/verify-email', { body: { token: codeIn(mail?.text) } })).status).toBe(204)
  })
})
