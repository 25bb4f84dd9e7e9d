/**
 * Hooks of people who come in by themselves: whoever joins by an invitation, and whoever registers. Threat: somebody who has an account, or makes
 * one in public, goes around the hook that those are asked about whom an administrator makes; or what is undone leaves a half of it behind.
 */
import { sql } from 'drizzle-orm'
import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { invited } from '../invitations/cast.ts'
import { addPerson, type Inside, inside, type Person } from '../support/inside.ts'
import { mailsTo } from '../support/mails.ts'
import { call } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { secretOf } from '../support/secrets.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { verified } from '../webhooks/receiver.ts'
import { addHook, ask, makeHook, tripsOf } from './cast.ts'

const AT = 'hook-people'
const NOBODY_LISTENS = 'http://127.0.0.1:9/'
let realm: Inside
let admin: string

beforeAll(async () => {
  await copyTenant(AT)
  realm = await inside(AT)
  admin = await tokenOf(AT)
  const on = await call(AT, '/api/v1/settings', { token: admin, method: 'PATCH', body: { registration: true } })
  expect(on.status).toBe(200)
})
beforeEach(() => realm.asOwner(sql`delete from freehold.hooks`))

const patch = (id: string, body: object) => call(AT, `/api/v1/hooks/${id}`, { token: admin, method: 'PATCH', body })
const failuresOf = async (id: string) =>
  realm.asOwner(
    sql`select l.user_id, d.after from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id
      where l.activity_type = 'HOOK_FAILED' and l.resource_id = ${id}`,
  )

describe('somebody who has an account and joins by an invitation', () => {
  let organization_id: string
  beforeAll(async () => {
    const made = await call(AT, '/api/v1/organizations', { token: admin, body: { name: 'North' } })
    expect(made.status, JSON.stringify(made.body)).toBe(201)
    organization_id = made.body.id
  })

  /** Somebody with a session who is invited to the organization. */
  async function asked(username: string) {
    const who = await addPerson(realm, username)
    const session = await tokenOf(realm, username)
    const { id, token } = await invited(realm, admin, { email: who.email, organization_id })
    const accept = (more: Record<string, string> = {}) => ask(AT, '/api/v1/invitations/accept', { token }, session, more)
    return { who, id, accept }
  }
  const organizationOf = async ({ id }: Person) =>
    (await realm.asOwner(sql`select organization_id from freehold.users where id = ${id}`))[0]?.organization_id
  const isOpen = async (id: string) =>
    (await realm.asOwner(sql`select closed_at is null as is_open from freehold.invitations where id = ${id}`))[0]?.is_open

  it('spends one round trip without a hook; with one it is asked, signed, for whom the invitation is, and three are spent', async () => {
    const plain = await asked('ann-joins')
    const without = await plain.accept()
    expect([without.status, tripsOf(without.headers)], without.text).toEqual([200, 1])
    const hook = await makeHook()
    const { secret } = await addHook(AT, admin, 'invitation.accept', hook.url)
    const { who, id, accept } = await asked('bea-joins')
    const { status, text, headers } = await accept()
    expect([status, tripsOf(headers)], text).toEqual([200, 3])
    expect(await organizationOf(who)).toBe(organization_id)
    const [message, ...more] = await hook.asked()
    if (!message) throw new Error('It was not asked.')
    verified(message, secret)
    expect(message.type).toBe('invitation.accept')
    expect(message.event).toMatchObject({ v: 1, tenant: AT, invitation_id: id, user_id: who.id, email: who.email })
    expect(more).toEqual([])
  })

  it('is denied with the reason of the hook; the invitation stays open, and nothing of it was given', async () => {
    const hook = await makeHook({ says: { decision: 'deny', reason: 'Ask the front desk' } })
    const { id: hook_id } = await addHook(AT, admin, 'invitation.accept', hook.url)
    const { who, id, accept } = await asked('cal-joins')
    const refused = await accept()
    expectProblem(refused, 403, 'denied_by_hook')
    expect(refused.body.detail).toBe('Ask the front desk')
    expect([await organizationOf(who), await isOpen(id)]).toEqual([null, true])
    expect(
      await realm.asOwner(
        sql`select 1 from freehold.audit_log where activity_type = 'INVITATION_ACCEPTED' and resource_id = ${id}`,
      ),
    ).toEqual([])
    await hook.answers({ says: { decision: 'deny' } })
    expect((await accept({ 'Accept-Language': 'es' })).body.detail).toBe('Un hook de este inquilino lo rechaza.')
    await patch(hook_id, { is_paused: true })
    expect((await accept()).status).toBe(200)
  })

  it('is refused where the hook fails and is closed, and let in where it is open, which the audit has', async () => {
    const { id: hook_id } = await addHook(AT, admin, 'invitation.accept', NOBODY_LISTENS, { on_failure: 'closed' })
    const { who, id, accept } = await asked('dov-joins')
    const refused = await accept()
    expectProblem(refused, 403, 'denied_by_hook')
    expect(refused.body.detail).toMatch(/does not answer/)
    expect([await organizationOf(who), await isOpen(id), await failuresOf(hook_id)]).toEqual([null, true, []])
    await patch(hook_id, { on_failure: 'open' })
    expect((await accept()).status).toBe(200)
    expect(await organizationOf(who)).toBe(organization_id)
    expect(await failuresOf(hook_id)).toEqual([{ user_id: who.id, after: { act: 'invitation.accept' } }])
  })

  it('of twenty at once joins once', async () => {
    const hook = await makeHook({ delay_ms: 200, says: { decision: 'allow' } })
    await addHook(AT, admin, 'invitation.accept', hook.url)
    const { who, accept } = await asked('eli-joins')
    const statuses = (await Promise.all(Array.from({ length: 20 }, () => accept()))).map(({ status }) => status)
    expect(statuses.sort()).toEqual([200, ...Array(19).fill(400)])
    expect(await organizationOf(who)).toBe(organization_id)
  })

  it('is not asked about where the invitation is not theirs', async () => {
    const hook = await makeHook()
    await addHook(AT, admin, 'invitation.accept', hook.url)
    const { token } = await invited(realm, admin, { organization_id })
    await addPerson(realm, 'fay-joins')
    const session = await tokenOf(realm, 'fay-joins')
    expectProblem(await ask(AT, '/api/v1/invitations/accept', { token }, session), 403, 'forbidden')
    expectProblem(await ask(AT, '/api/v1/invitations/accept', { token: 'x'.repeat(32) }, session), 400, 'invalid_request')
    expect(await hook.asked()).toEqual([])
  })
})

describe('somebody who registers', () => {
  const PASSWORD = 'Marble-Kettle-52'
  const isThere = async (email: string) =>
    (await realm.asOwner(sql`select 1 from freehold.users where email = ${email}`)).length === 1
  /** Registers, up to the mail. */
  async function registered(email: string) {
    const answer = await ask(AT, '/api/v1/auth/register', { email, password: PASSWORD, given_name: 'Ana' })
    expect(answer.status, answer.text).toBe(202)
    const { registration_secret } = answer.body
    const token = await secretOf(realm, 'register', email)
    return (headers = {}) => ask(AT, '/api/v1/auth/verify-email', { token, registration_secret }, undefined, headers)
  }

  it('is denied with the reason once the address is proven, is nobody, and comes in with the same mail where the hook allows it', async () => {
    const hook = await makeHook({ says: { decision: 'deny', reason: 'Not on the list' } })
    const { secret } = await addHook(AT, admin, 'user.create', hook.url)
    const email = 'gil@hooked-people.test'
    const verify = await registered(email)
    // Nothing is asked of an address that nobody proved.
    expect(await hook.asked()).toEqual([])
    const refused = await verify()
    expectProblem(refused, 403, 'denied_by_hook')
    expect(refused.body.detail).toBe('Not on the list')
    expect(await isThere(email)).toBe(false)
    const [message] = await hook.asked()
    if (!message) throw new Error('It was not asked.')
    verified(message, secret)
    expect(message.event).toMatchObject({ tenant: AT, email, email_verified: true, given_name: 'Ana', role: 'user' })
    expectProblem(await ask(AT, '/api/v1/auth/login', { email, password: PASSWORD }), 401, 'invalid_credentials')
    await hook.answers({ says: { decision: 'allow' } })
    expect((await verify()).status).toBe(204)
    expect((await ask(AT, '/api/v1/auth/login', { email, password: PASSWORD })).status).toBe(200)
  })

  it('is told of a hook nothing before: to register answers alike, whatever it says', async () => {
    const register = async (email: string) => {
      const { status, body } = await ask(AT, '/api/v1/auth/register', { email, password: PASSWORD })
      return { status, names: Object.keys(body) }
    }
    const without = await register('hal-1@hooked-people.test')
    const hook = await makeHook({ says: { decision: 'deny' } })
    await addHook(AT, admin, 'user.create', hook.url)
    expect(await register('hal-2@hooked-people.test')).toEqual(without)
    expect(await mailsTo('hal-2@hooked-people.test')).toHaveLength(1)
  })

  it('is made or not as it is set where the hook fails', async () => {
    const { id } = await addHook(AT, admin, 'user.create', NOBODY_LISTENS, { on_failure: 'closed' })
    const email = 'ida@hooked-people.test'
    const verify = await registered(email)
    const refused = await verify({ 'Accept-Language': 'en' })
    expectProblem(refused, 403, 'denied_by_hook')
    expect(refused.body.detail).toMatch(/does not answer/)
    expect(await isThere(email)).toBe(false)
    await patch(id, { on_failure: 'open' })
    expect((await verify()).status).toBe(204)
    expect(await isThere(email)).toBe(true)
    expect((await failuresOf(id)).map(({ after }) => after)).toEqual([{ act: 'user.create' }])
  })

  it('is denied as whom an administrator makes is, with the same reason and nothing left behind', async () => {
    const hook = await makeHook({ says: { decision: 'deny', reason: 'Not on the list' } })
    await addHook(AT, admin, 'user.create', hook.url)
    const email = 'jon@hooked-people.test'
    const key = { 'Idempotency-Key': crypto.randomUUID() }
    const create = () => ask(AT, '/api/v1/users', { email, given_name: 'Jon' }, admin, key)
    const refused = await create()
    expectProblem(refused, 403, 'denied_by_hook')
    expect(refused.body.detail).toBe('Not on the list')
    expect(await isThere(email)).toBe(false)
    expect(await realm.asOwner(sql`select kind from freehold.mails where recipient = ${email}`)).toEqual([])
    // A refusal is not what the key is answered with from then on.
    await hook.answers({ says: { decision: 'allow' } })
    expect((await create()).status).toBe(201)
  })
})
