/**
 * Hooks before the act. Threat: somebody comes in, or is made, though the hook of the tenant says no, by a way that does not ask it; an answer
 * of one is taken for another; a hook that is slow holds the tenant's database, or keeps everybody out for good; without hooks anything costs more.
 */
import { sql } from 'drizzle-orm'
import { decodeJwt } from 'jose'
import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { invited, PASSWORD } from '../invitations/cast.ts'
import { databaseOf, refusalOf } from '../support/databases.ts'
import { addPerson, type Inside, inside, type Person } from '../support/inside.ts'
import { knock } from '../support/knock.ts'
import { call } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { makeReceiver, verified } from '../webhooks/receiver.ts'
import { addHook, ask, makeHook, tripsOf } from './cast.ts'

const AT = 'hook-asked'
let realm: Inside
let admin: string
let ann: Person
let head: Person

beforeAll(async () => {
  await copyTenant(AT)
  realm = await inside(AT)
  admin = await tokenOf(AT)
  ann = await addPerson(realm, 'ann')
  head = await addPerson(realm, 'head', { roles: ['admin'] })
})
beforeEach(() => realm.asOwner(sql`delete from freehold.hooks`))

const login = ({ email, password }: Person, more: object = {}) => ask(AT, '/api/v1/auth/login', { email, password, ...more })
const sessionsOf = async ({ id }: Person) =>
  (await realm.asOwner(sql`select count(*)::int as n from freehold.sessions where user_id = ${id}`))[0]?.n as number
const entries = (activity: string) =>
  realm.asOwner(
    sql`select l.user_id, l.resource_id, d.after from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id where l.activity_type = ${activity} order by l.at desc limit 1`,
  )

describe('a login', () => {
  it('without a hook, or with one that is paused, takes the two round trips that it took', async () => {
    expect(tripsOf((await login(ann)).headers)).toBe(2)
    const hook = await makeHook()
    await addHook(AT, admin, 'login', hook.url, { is_paused: true })
    await addHook(AT, admin, 'user.create', hook.url)
    const { status, headers } = await login(ann)
    expect([status, tripsOf(headers)]).toEqual([200, 2])
    expect(await hook.asked()).toHaveLength(0)
  })

  it('is asked about once the password was right, signed, with who it is, and goes on with an answer', async () => {
    const hook = await makeHook()
    const { id, secret } = await addHook(AT, admin, 'login', hook.url)
    const { status, headers, body } = await login(ann)
    expect([status, tripsOf(headers)]).toEqual([200, 4])
    expect(decodeJwt(body.access_token)).not.toHaveProperty('ext')
    const [message, ...more] = await hook.asked()
    if (!message) throw new Error('It was not asked.')
    verified(message, secret)
    expect(message.headers['webhook-id']).toMatch(/^hook_/)
    expect(message.type).toBe('login')
    expect(message.event).toMatchObject({ v: 1, tenant: AT, hook_id: id, user_id: ann.id, email: ann.email, amr: 'pwd' })
    expect(more).toEqual([])
    // A wrong password, and an unknown name, are not told.
    expectProblem(await login({ ...ann, password: 'Wrong-Horse-12' }), 401, 'invalid_credentials')
    expectProblem(await login({ ...ann, email: 'nobody@people.test' }), 401, 'invalid_credentials')
    expect(await hook.asked()).toHaveLength(1)
  })

  it('is refused with the reason, opens no session, and is in the audit as a failure', async () => {
    const hook = await makeHook({ says: { decision: 'deny', reason: 'Your shift has not begun' } })
    await addHook(AT, admin, 'login', hook.url)
    const before = await sessionsOf(ann)
    const refused = await login(ann)
    expectProblem(refused, 403, 'denied_by_hook')
    expect(refused.body.detail).toBe('Your shift has not begun')
    expect(await sessionsOf(ann)).toBe(before)
    expect((await entries('LOGIN_FAILED'))[0]).toMatchObject({ user_id: ann.id, after: { reason: 'denied_by_hook' } })
    // Its risk is kept, and is no past of hers.
    const [attempt] = await realm.asOwner(
      sql`select outcome from freehold.risk_attempts where user_id = ${ann.id} order by created_at desc limit 1`,
    )
    expect(attempt).toEqual({ outcome: 'challenged' })
    await hook.answers({ says: { decision: 'deny' } })
    const spanish = await ask(AT, '/api/v1/auth/login', { email: ann.email, password: ann.password }, undefined, {
      'Accept-Language': 'es',
    })
    expect(spanish.body).toMatchObject({ code: 'denied_by_hook', detail: 'Un hook de este inquilino lo rechaza.' })
    // It says no of this person whoever asks, also of one who may change it.
    expectProblem(await login(head), 403, 'denied_by_hook')
    const oauth = await ask(AT, '/api/v1/auth/login', { email: ann.email, password: ann.password })
    expectProblem(oauth, 403, 'denied_by_hook')
  })

  it('gets claims of its own in a claim of its own, which stay through a refresh and no other session has', async () => {
    const hook = await makeHook({
      says: { decision: 'allow', claims: { plan: 'gold', seats: 3, beta: true, areas: ['a', 'b'] } },
    })
    await addHook(AT, admin, 'login', hook.url)
    const { body } = await login(ann)
    const claims = decodeJwt(body.access_token)
    expect(claims.ext).toEqual({ plan: 'gold', seats: 3, beta: true, areas: ['a', 'b'] })
    expect(claims).toMatchObject({ sub: ann.id, roles: ['user'] })
    await realm.asOwner(sql`delete from freehold.hooks`)
    const refreshed = await call(AT, '/api/v1/auth/refresh-token', { body: { refresh_token: body.refresh_token } })
    expect(refreshed.trips).toBe(1)
    expect(decodeJwt(refreshed.body.access_token).ext).toEqual(claims.ext)
    expect(decodeJwt((await login(ann)).body.access_token)).not.toHaveProperty('ext')
  })

  it('of twenty at once is asked about twenty times, and each has its own answer', async () => {
    const hook = await makeHook({ delay_ms: 300, says: { decision: 'allow', claims: { n: 1 } } })
    await addHook(AT, admin, 'login', hook.url)
    const people = await Promise.all(Array.from({ length: 10 }, (_, i) => addPerson(realm, `many${i}`)))
    const answers = await Promise.all([...people, ...people].map((person) => login(person)))
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200))
    for (const [i, { body }] of answers.entries())
      expect(decodeJwt(body.access_token)).toMatchObject({ sub: people[i % 10]?.id, ext: { n: 1 } })
    expect(await hook.asked()).toHaveLength(20)
  })

  it('whose hook fails goes on or is refused as it is set, after 2 s, and whoever may mend it comes in', async () => {
    const hook = await makeHook({ delay_ms: 30_000, says: { decision: 'allow' } })
    const { id } = await addHook(AT, admin, 'login', hook.url, { on_failure: 'closed' })
    const began = Date.now()
    const refused = await login(ann)
    expectProblem(refused, 403, 'denied_by_hook')
    expect(refused.body.detail).toMatch(/does not answer/)
    expect(Date.now() - began).toBeLessThan(8_000)
    expect((await entries('LOGIN_FAILED'))[0]).toMatchObject({ user_id: ann.id, after: { reason: 'hook_failed' } })
    await hook.answers({ status: 500 })
    expect((await login(head)).status).toBe(200)
    expect((await entries('HOOK_FAILED'))[0]).toMatchObject({ user_id: head.id, resource_id: id, after: { act: 'login' } })
    await call(AT, `/api/v1/hooks/${id}`, { token: admin, method: 'PATCH', body: { on_failure: 'open' } })
    const entered = await login(ann)
    expect(entered.status).toBe(200)
    expect(decodeJwt(entered.body.access_token)).not.toHaveProperty('ext')
    expect((await entries('HOOK_FAILED'))[0]).toMatchObject({ user_id: ann.id })
  })

  it.each([
    ['a claim with NUL', '{"decision":"allow","claims":{"a":"\\u0000"}}'],
    ['a claim with half of a surrogate pair', '{"decision":"allow","claims":{"a":["\\ud800"]}}'],
    ['a reason with half of a surrogate pair', '{"decision":"deny","reason":"No\\udc00"}'],
  ])('whose hook answers what no database stores, %s, goes on as after any failure', async (_, body) => {
    const hook = await makeReceiver({ body })
    const { id } = await addHook(AT, admin, 'login', hook.url, { on_failure: 'open' })
    expect((await login(ann)).status).toBe(200)
    await call(AT, `/api/v1/hooks/${id}`, { token: admin, method: 'PATCH', body: { on_failure: 'closed' } })
    expectProblem(await login(ann), 403, 'denied_by_hook')
    expect((await login(head)).status).toBe(200)
  })

  it('whose hook has a secret that cannot be opened goes on as after any failure', async () => {
    const hook = await makeHook()
    const { id } = await addHook(AT, admin, 'login', hook.url, { on_failure: 'open' })
    await realm.asOwner(sql`update freehold.hooks set secret_encrypted = 'not a secret' where id = ${id}`)
    expect((await login(ann)).status).toBe(200)
    expect((await entries('HOOK_FAILED'))[0]).toMatchObject({ user_id: ann.id, resource_id: id })
    const test = await call(AT, `/api/v1/hooks/${id}/test`, { token: admin, method: 'POST' })
    expect([test.status, test.body]).toMatchObject([200, { decision: null, error: 'the message could not be made' }])
    await call(AT, `/api/v1/hooks/${id}`, { token: admin, method: 'PATCH', body: { on_failure: 'closed' } })
    expectProblem(await login(ann), 403, 'denied_by_hook')
    expect((await login(head)).status).toBe(200)
    expect(await hook.asked()).toEqual([])
  })

  it('holds no connection and no transaction of the tenant while its hook thinks', async () => {
    const hook = await makeHook({ delay_ms: 1_500, says: { decision: 'allow' } })
    await addHook(AT, admin, 'login', hook.url)
    const waiting = login(ann)
    for (let until = Date.now() + 5_000; !(await hook.asked()).length && Date.now() < until; )
      await new Promise((done) => setTimeout(done, 50))
    const open = await realm.asOwner(
      sql`select state, query from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and state <> 'idle' and backend_type = 'client backend'`,
    )
    expect(open).toEqual([])
    // The row of the user is free meanwhile.
    expect(
      (await call(AT, `/api/v1/users/${ann.id}`, { token: admin, method: 'PATCH', body: { given_name: 'Ann' } })).status,
    ).toBe(200)
    expect((await waiting).status).toBe(200)
  })

  it('of any kind opens its session in the one function that asks', async () => {
    const rows = await realm.asOwner(
      sql`select p.proname as name from pg_proc p where p.pronamespace = 'access'::regnamespace
          and (p.prosrc ~ 'open_session[(]' or p.prosrc ~ 'insert into freehold[.]sessions') order by 1`,
    )
    // Who acts as a user does not log in as one.
    expect(rows.map(({ name }) => name)).toEqual(['enter', 'impersonate', 'open_session'])
  })
})

describe('a user', () => {
  let made = 0
  const create = (more: object = {}, headers: Record<string, string> = {}) =>
    ask(AT, '/api/v1/users', { email: `made-${made++}@hooked.test`, given_name: 'Mae', ...more }, admin, headers)
  const there = async (email: string) =>
    (await realm.asOwner(sql`select id from freehold.users where email = ${email}`)).length === 1

  it('is made where the hook allows it, which is told of users alone that would be made, and not where it denies', async () => {
    const hook = await makeHook()
    await addHook(AT, admin, 'user.create', hook.url)
    const email = `made-${made}@hooked.test`
    expect((await create()).status).toBe(201)
    const [message] = await hook.asked()
    expect(message?.event).toMatchObject({ tenant: AT, email, given_name: 'Mae', role: 'user' })
    expectProblem(await create({ email }), 409, 'already_exists')
    expectProblem(await create({ role: 'no-such-role' }), 400, 'invalid_request')
    expect(await hook.asked()).toHaveLength(1)
    await hook.answers({ says: { decision: 'deny', reason: 'Not on the list' } })
    const refused = await create({ email: 'refused@hooked.test' })
    expectProblem(refused, 403, 'denied_by_hook')
    expect(refused.body.detail).toBe('Not on the list')
    expect(await there('refused@hooked.test')).toBe(false)
    // Claims are for logins.
    await hook.answers({ says: { decision: 'allow', claims: { a: 1 } } })
    expectProblem(await create(), 403, 'denied_by_hook')
  })

  it('is made once where the request is repeated with its key', async () => {
    const hook = await makeHook()
    await addHook(AT, admin, 'user.create', hook.url)
    const [email, key] = ['once@hooked.test', { 'Idempotency-Key': crypto.randomUUID() }]
    const [one, two] = [await create({ email }, key), await create({ email }, key)]
    expect([one.status, two.status, two.body.id]).toEqual([201, 201, one.body.id])
    expect(await hook.asked()).toHaveLength(1)
  })

  it('whose hook fails is made or not, as it is set', async () => {
    const { id } = await addHook(AT, admin, 'user.create', 'http://127.0.0.1:9/')
    const refused = await create()
    expectProblem(refused, 403, 'denied_by_hook')
    expect(refused.body.detail).toMatch(/does not answer/)
    await call(AT, `/api/v1/hooks/${id}`, { token: admin, method: 'PATCH', body: { on_failure: 'open' } })
    expect((await create()).status).toBe(201)
    expect((await entries('HOOK_FAILED'))[0]).toMatchObject({ resource_id: id, after: { act: 'user.create' } })
  })

  it('of an import is made without it', async () => {
    const hook = await makeHook({ says: { decision: 'deny' } })
    await addHook(AT, admin, 'user.create', hook.url)
    const { status, text } = await knock(`http://${AT}.freehold.test/api/v1/users/import`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${admin}`, 'Content-Type': 'application/x-ndjson' },
      body: '{"email":"imported@hooked.test"}\n',
    })
    expect([status, text]).toEqual([200, expect.stringContaining('created')])
    expect(await there('imported@hooked.test')).toBe(true)
    expect(await hook.asked()).toHaveLength(0)
  })
})

describe('an invitation', () => {
  const accept = (body: object) => ask(AT, '/api/v1/invitations/accept', body)

  it('is accepted where both hooks allow it, that of the invitation and that of the user', async () => {
    const [one, two] = [await makeHook(), await makeHook()]
    await addHook(AT, admin, 'invitation.accept', one.url)
    await addHook(AT, admin, 'user.create', two.url)
    const { id, email, token } = await invited(realm, admin)
    const accepted = await accept({ token, password: PASSWORD })
    expect(accepted.status, accepted.text).toBe(201)
    expect((await one.asked())[0]?.event).toMatchObject({ invitation_id: id, email, user_id: null })
    expect((await two.asked())[0]?.event).toMatchObject({ email })
  })

  it('that its hook denies stays open, and nobody is made', async () => {
    const hook = await makeHook({ says: { decision: 'deny', reason: 'Ask the front desk' } })
    const { id } = await addHook(AT, admin, 'invitation.accept', hook.url)
    const { email, token } = await invited(realm, admin)
    const refused = await accept({ token, password: PASSWORD })
    expectProblem(refused, 403, 'denied_by_hook')
    expect(await realm.asOwner(sql`select 1 from freehold.users where email = ${email}`)).toEqual([])
    await call(AT, `/api/v1/hooks/${id}`, { token: admin, method: 'PATCH', body: { is_paused: true } })
    expect((await accept({ token, password: PASSWORD })).status).toBe(201)
  })
})

describe('an answer', () => {
  it('is taken of nobody but the system, and one that is set by hand counts for nothing', async () => {
    const hook = await makeHook({ says: { decision: 'deny' } })
    const { id } = await addHook(AT, admin, 'user.create', hook.url)
    const { app_url } = await databaseOf(AT)
    const forged = JSON.stringify([{ hook_id: id, act: 'user.create', subject: '*', is_allowed: true, is_failed: false }])
    expect(await refusalOf(app_url, sql`select access.hook_answered(${realm.id}, 'guess', ${forged}::jsonb)`)).toBeTruthy()
    expect(await refusalOf(app_url, sql`select access.hook_target(${realm.id}, 'guess', ${id}::uuid)`)).toBeTruthy()
    const undone = await realm
      .asOwner(
        sql`select set_config('access.hooks', ${forged}, true), set_config('access.hooks_signature', 'aa', true)`,
        sql`insert into freehold.users (id, email, username, role) values (gen_random_uuid(), 'forged@hooked.test', 'forged', 'user')`,
      )
      .catch((error) => error.cause?.code ?? error.code)
    expect(undone).toBe('FH40H')
  })

  it('is for the act and whom it is about', async () => {
    const hook = await makeHook()
    const { id } = await addHook(AT, admin, 'user.create', hook.url)
    const answer = JSON.stringify([
      { hook_id: id, act: 'user.create', subject: 'one@hooked.test', is_allowed: true, is_failed: false },
    ])
    const insert = (email: string) =>
      realm
        .asOwner(
          sql`select access.hook_answered(${realm.id}, ${realm.system_key}, ${answer}::jsonb)`,
          sql`insert into freehold.users (id, email, username, role) values (gen_random_uuid(), ${email}, ${email.split('@')[0]}, 'user')`,
        )
        .then(
          () => 'made',
          (error) => error.cause?.code ?? error.code,
        )
    expect(await insert('two@hooked.test')).toBe('FH40H')
    expect(await insert('one@hooked.test')).toBe('made')
  })
})
