/** Threat: a setting that nobody holds to, one by which the door stands open, or one that somebody sets who may not. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { addPerson, type Inside, inside } from '../support/inside.ts'
import { call, operatorToken } from '../support/people.ts'
import { expectProblem, pointers } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { addMember, addRole } from '../users/cast.ts'

const AT = 'house-rules'
let realm: Inside
let admin: string

beforeAll(async () => {
  await Promise.all([copyTenant(AT), copyTenant('house-rules-next')])
  realm = await inside(AT)
  admin = await tokenOf(AT)
})

const patch = (body: unknown, more: object = {}) => call(AT, '/api/v1/settings', { token: admin, method: 'PATCH', body, ...more })
const get = (token = admin) => call(AT, '/api/v1/settings', { token })
const set = async (body: object) => expect((await patch(body)).status).toBe(200)
const change = (token: string, current_password: string, new_password: string) =>
  call(AT, '/api/v1/auth/password-change', { token, body: { current_password, new_password } })
const enter = (username: string, password: string) => call(AT, '/api/v1/auth/login', { body: { username, password } })

describe('the settings', () => {
  it('are at first what the documentation says: long passwords, without composition or rotation', async () => {
    expect((await get()).body).toMatchObject({
      password_min_length: 12,
      password_max_length: 128,
      password_upper: false,
      password_lower: false,
      password_digit: false,
      password_special: false,
      password_unique: 1,
      password_history: 5,
      password_personal: true,
      password_common: true,
      password_breached: false,
      password_days: 0,
      password_warning_days: 14,
      password_grant: false,
      email_login: false,
      max_failures: 5,
      lock_minutes: 30,
      access_minutes: 15,
      idle_days: 7,
      idle_minutes: null,
      first_password_hours: 72,
      reset_link_minutes: 60,
      api_key_days: 365,
      session_days: 30,
      max_sessions: 5,
      registration: false,
      registration_domains: [],
      registration_role: null,
      delegation_approval: false,
      mail_per_recipient_hour: 5,
      mail_per_day: 2000,
      max_delegations: 50,
      notification_days: 90,
      name: null,
      accent_color: null,
      links: { verify_email: null, reset_password: null, email_change: null, login: null, email_login: null },
    })
  })

  it('are changed one by one, under If-Match, and recorded', async () => {
    const { headers } = await get()
    const answer = await patch({ lock_minutes: 31 }, { headers: { 'If-Match': headers.get('ETag') ?? '' } })
    expect([answer.status, answer.body.lock_minutes, answer.body.max_failures]).toEqual([200, 31, 5])
    expectProblem(await patch({ lock_minutes: 32 }, { headers: { 'If-Match': headers.get('ETag') ?? '' } }), 412, 'etag_mismatch')
    const [entry] = await realm.asOwner(
      sql`select d.before, d.after from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id where l.activity_type = 'TENANT_UPDATED' order by l.at desc limit 1`,
    )
    expect(entry).toEqual({ before: { lock_minutes: 30 }, after: { lock_minutes: 31 } })
    expect((await patch({})).status).toBe(200)
  })

  it.each<[string, unknown]>([
    ['password_min_length', 7],
    ['password_min_length', 65],
    ['password_max_length', 63],
    ['password_upper', 'yes'],
    ['password_unique', 0],
    ['password_history', 25],
    ['password_days', -1],
    ['password_warning_days', 1.5],
    ['max_failures', 0],
    ['lock_minutes', 1441],
    ['access_minutes', 4],
    ['access_minutes', 10081],
    ['idle_days', null],
    ['session_days', 366],
    ['idle_minutes', 14],
    ['idle_minutes', 525_601],
    ['first_password_hours', 0],
    ['first_password_hours', 721],
    ['reset_link_minutes', 14],
    ['reset_link_minutes', 1441],
    ['api_key_days', -1],
    ['api_key_days', 3651],
    ['max_sessions', 0],
    ['mail_per_recipient_hour', 0],
    ['mail_per_recipient_hour', 21],
    ['mail_per_day', 0],
    ['mail_per_day', 50_001],
    ['registration', 1],
    ['registration_domains', 'people.test'],
    ['registration_role', 'nobody'],
    ['updated_at', '2026-01-01T00:00:00Z'],
    ['unheard_of', 1],
  ])('refuse %s: %j, and say where', async (field, value) => {
    const answer = await patch({ [field]: value, idle_days: field === 'idle_days' ? value : 8 })
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual([`#/${field}`])
    expect((await get()).body.idle_days).toBe(7)
  })

  it.each(['not a domain', '@people.test', 'people', '-a.test', `${'a'.repeat(64)}.test`, ''])(
    'refuse the domain %j',
    async (domain) => {
      expect(pointers(await patch({ registration_domains: ['ok.test', domain] }))).toEqual(['#/registration_domains/1'])
    },
  )

  it('are read and changed by who may, here, and by nobody else', async () => {
    const cy = await addMember(realm, 'cy')
    await addRole(realm, 'caretaker', ['setting:read'], 'all')
    const caretaker = await addMember(realm, 'dee', { roles: ['caretaker'] })
    const mallory = await tokenOf('house-rules-next')
    expectProblem(await call(AT, '/api/v1/settings'), 401, 'token_missing')
    expectProblem(await get(mallory), 401, 'token_wrong_tenant')
    expectProblem(await get(cy.token), 403, 'forbidden')
    expect((await get(caretaker.token)).status).toBe(200)
    expectProblem(await patch({ lock_minutes: 1 }, { token: caretaker.token }), 403, 'forbidden')
  })

  it('keep the role of those who register switched on, named or the fallback, while it is theirs', async () => {
    await addRole(realm, 'newcomer', [], 'own')
    const id = async (name: string) => (await realm.asOwner(sql`select id from freehold.roles where name = ${name}`))[0]?.id
    const turn = async (name: string, is_active: boolean) =>
      call(AT, `/api/v1/roles/${await id(name)}`, { token: admin, method: 'PATCH', body: { is_active } })
    expect((await patch({ registration: true, registration_role: 'newcomer' })).status).toBe(200)
    expectProblem(await turn('newcomer', false), 409, 'in_use')
    expect((await patch({ registration_role: null })).status).toBe(200)
    expectProblem(await turn('user', false), 409, 'in_use')
    expect((await turn('newcomer', false)).status).toBe(200)
    const off = await patch({ registration_role: 'newcomer' })
    expectProblem(off, 400, 'invalid_request')
    expect(pointers(off)).toEqual(['#/registration_role'])
    expect((await patch({ registration: false })).status).toBe(200)
  })

  it('name the role of those who register, or switch it off, but not both at once', async () => {
    await addRole(realm, 'either', [], 'own')
    const [role] = await realm.asOwner(sql`select id from freehold.roles where name = 'either'`)
    for (let round = 0; round < 10; round++) {
      await Promise.all([
        patch({ registration_role: 'either' }),
        call(AT, `/api/v1/roles/${role?.id}`, { token: admin, method: 'PATCH', body: { is_active: false } }),
      ])
      const [after] = await realm.asOwner(
        sql`select r.is_active, t.registration_role from freehold.roles r, freehold.tenant t where r.id = ${role?.id}`,
      )
      expect(after?.is_active || after?.registration_role === null).toBe(true)
      await patch({ registration_role: null })
      await realm.asOwner(sql`update freehold.roles set is_active = true where id = ${role?.id}`)
    }
  })

  it('name no role for strangers that who names it does not hold', async () => {
    await addRole(realm, 'registrar', ['setting:read', 'setting:update'], 'all')
    const registrar = await addMember(realm, 'eli', { roles: ['registrar'] })
    const answer = await patch({ registration: true, registration_role: 'admin' }, { token: registrar.token })
    expectProblem(answer, 403, 'forbidden')
    expect((await get()).body).toMatchObject({ registration: false, registration_role: null })
  })

  it('of twenty changes at once are all kept', async () => {
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) => patch(i % 2 ? { max_failures: 6 } : { lock_minutes: 29 })),
    )
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
    expect((await get()).body).toMatchObject({ max_failures: 6, lock_minutes: 29 })
    await set({ max_failures: 5, lock_minutes: 30 })
  })
})

describe('a password', () => {
  it('is held to every rule that the tenant sets, and to none that it lifts, at once', async () => {
    const fay = await addMember(realm, 'fay')
    await set({ password_min_length: 20, password_unique: 9, password_upper: true, password_digit: true, password_special: true })
    const short = await change(fay.token, fay.password, 'abxyzzy')
    expect(short.body.errors.map(({ detail }: { detail: string }) => detail)).toEqual([
      'must have at least 20 characters',
      'must have an upper case letter',
      'must have a digit',
      'must have a character that is neither letter nor digit',
      'must have at least 9 different characters',
    ])
    await set({
      password_min_length: 12,
      password_unique: 1,
      password_upper: false,
      password_digit: false,
      password_special: false,
    })
    expect((await change(fay.token, fay.password, 'correct horse battery')).status).toBe(204)
  })

  it('is judged as it is hashed: an accent that is written apart is no character more, nor a special one', async () => {
    const pam = await addMember(realm, 'pam')
    await set({ password_special: true })
    const { errors } = (await change(pam.token, pam.password, 'Áéíó1'.normalize('NFD'))).body
    expect(errors.map(({ detail }: { detail: string }) => detail)).toEqual([
      'must have at least 12 characters',
      'must have a character that is neither letter nor digit',
    ])
    await set({ password_special: false })
  })

  it('is none of the commonest, however it is written, unless the tenant allows it', async () => {
    const gus = await addMember(realm, 'gus')
    for (const common of ['P@ssw0rd', 'Password1!', '!Trustno1!', 'QWERTY123!', 'P@ssw0rd-2026'])
      expect(
        (await change(gus.token, gus.password, common)).body.errors?.map((e: { detail: string }) => e.detail),
        common,
      ).toContain('must not be one of the commonest passwords, also with digits and signs around it or in place of letters')
    await set({ password_common: false })
    expect((await change(gus.token, gus.password, 'Trustno1!!!!')).status).toBe(204)
    await set({ password_common: true })
  })

  it('has no part of the name, unless the tenant allows it', async () => {
    const hugo = await addMember(realm, 'hugo')
    expectProblem(await change(hugo.token, hugo.password, 'Hugo-Kettle-52'), 400, 'invalid_request')
    await set({ password_personal: false })
    expect((await change(hugo.token, hugo.password, 'Hugo-Kettle-52')).status).toBe(204)
    await set({ password_personal: true })
  })

  it('is none of the last five, and may be the sixth again', async () => {
    const ira = await addMember(realm, 'ira')
    const past = [ira.password, 'Marble-Kettle-1', 'Marble-Kettle-2', 'Marble-Kettle-3', 'Marble-Kettle-4']
    for (let i = 1; i < past.length; i++) expect((await change(ira.token, past[i - 1] ?? '', past[i] ?? '')).status).toBe(204)
    const current = past.at(-1) ?? ''
    for (const used of past.slice(0, 4)) {
      const answer = await change(ira.token, current, used)
      expectProblem(answer, 400, 'invalid_request')
      expect(answer.body.errors).toEqual([{ pointer: '#/new_password', detail: 'must not be one of the last passwords' }])
    }
    expect((await change(ira.token, current, 'Marble-Kettle-5')).status).toBe(204)
    expect((await change(ira.token, 'Marble-Kettle-5', ira.password)).status).toBe(204)
  })

  it('may come back where the tenant remembers none', async () => {
    const jo = await addMember(realm, 'jo')
    await set({ password_history: 0 })
    expect((await change(jo.token, jo.password, 'Marble-Kettle-1')).status).toBe(204)
    expect((await change(jo.token, 'Marble-Kettle-1', jo.password)).status).toBe(204)
    await set({ password_history: 5 })
  })

  it('of a new person is held to the same rules, and one that is generated keeps them', async () => {
    await set({ password_min_length: 40 })
    const make = (more: object) =>
      call(AT, '/api/v1/users', {
        token: admin,
        body: { email: `${crypto.randomUUID()}@people.test`, username: `u-${crypto.randomUUID()}`, ...more },
      })
    expect(pointers(await make({ password: 'Marble-Kettle-52' }))).toEqual(['#/password'])
    const { body } = await make({})
    expect(body.initial_password.length).toBeGreaterThanOrEqual(40)
    await set({ password_min_length: 32, password_unique: 32 })
    const made = (await make({})).body
    const reset = (await call(AT, `/api/v1/users/${made.id}/reset-password`, { token: admin, body: {} })).body
    for (const { initial_password } of [made, reset]) expect(new Set(initial_password).size).toBeGreaterThanOrEqual(32)
    await set({ password_min_length: 12, password_unique: 1 })
  })
})

describe('the age of a password', () => {
  const aged = (username: string, days: number) =>
    realm.asOwner(
      sql`update freehold.users set password_changed_at = now() - make_interval(days => ${days}) where username = ${username}`,
      sql`update freehold.passwords p set created_at = now() - make_interval(days => ${days}) from freehold.users u where u.id = p.user_id and u.username = ${username}`,
    )

  it('never ends, unless the tenant says so', async () => {
    const jan = await addPerson(realm, 'jan')
    await aged('jan', 4000)
    const { must_change_password, password_expires_at, password_expires_soon } = (await enter('jan', jan.password)).body
    expect([must_change_password, password_expires_at, password_expires_soon]).toEqual([false, null, false])
  })

  it('is warned of 14 days ahead in the login answer, and ends where the tenant says', async () => {
    const kay = await addPerson(realm, 'kay')
    const said = async () => {
      const { must_change_password, password_expires_at, password_expires_soon } = (await enter('kay', kay.password)).body
      return { must_change_password, expires: password_expires_at !== null, soon: password_expires_soon }
    }
    await set({ password_days: 90 })
    await aged('kay', 75)
    expect(await said()).toEqual({ must_change_password: false, expires: true, soon: false })
    await aged('kay', 77)
    expect(await said()).toEqual({ must_change_password: false, expires: true, soon: true })
    await set({ password_warning_days: 5 })
    expect(await said()).toEqual({ must_change_password: false, expires: true, soon: false })
    await set({ password_days: 70 })
    expect(await said()).toEqual({ must_change_password: true, expires: true, soon: true })
    await set({ password_days: 0 })
    expect(await said()).toEqual({ must_change_password: false, expires: false, soon: false })
    await set({ password_warning_days: 14 })
  })

  it('is told by mail once for each password, to who can log in', async () => {
    await set({ password_days: 90 })
    const [lea] = [await addPerson(realm, 'lea'), await addPerson(realm, 'mia'), await addPerson(realm, 'new')]
    await aged('lea', 80)
    await aged('mia', 80)
    await realm.asOwner(sql`update freehold.users set is_active = false where username = 'mia'`)
    const warn = () => realm.asOwner(sql`select access.warn_expiring(100)`)
    await Promise.all([warn(), warn(), warn()])
    const told = async () =>
      (
        await realm.asOwner(
          sql`select recipient from freehold.mails where kind = 'password_expires' and recipient in ('lea@people.test', 'mia@people.test', 'new@people.test')`,
        )
      ).map(({ recipient }) => recipient)
    expect(await told()).toEqual([lea?.email])
    await warn()
    expect(await told()).toEqual([lea?.email])
    await set({ password_days: 0 })
  })
})

describe('a login', () => {
  it('is locked after as many failures, and for as long, as the tenant says', async () => {
    const nia = await addPerson(realm, 'nia')
    await set({ max_failures: 2 })
    for (let i = 0; i < 2; i++) expectProblem(await enter('nia', 'Wrong-1'), 401, 'invalid_credentials')
    expectProblem(await enter('nia', nia.password), 401, 'invalid_credentials')
    await set({ max_failures: 5 })
  })

  it('gives an access token that lives as long as the tenant says', async () => {
    await addPerson(realm, 'ola')
    await set({ access_minutes: 5 })
    const { body } = await enter('ola', 'Violet-Anchor-38')
    expect(body.expires_in).toBe(300)
    const { exp, iat } = JSON.parse(atob(body.access_token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/')))
    expect(exp - iat).toBe(300)
    await set({ access_minutes: 15 })
  })
})

it('the platform has settings of its own, for its operators', async () => {
  const token = await operatorToken()
  const { body, status } = await call('', '/platform/v1/settings', { token })
  expect([status, body.password_days, body.password_min_length, body.password_upper]).toEqual([200, 0, 12, false])
  const answer = await call('', '/platform/v1/settings', { token, method: 'PATCH', body: { max_sessions: 999 } })
  expect([answer.status, answer.body.max_sessions]).toEqual([200, 999])
  const auditor = await addPerson(await inside(''), 'ria', { roles: ['auditor'] })
  const entered = await call('', '/platform/v1/auth/login', { body: { username: 'ria', password: auditor.password } })
  expect((await call('', '/platform/v1/settings', { token: entered.body.access_token })).status).toBe(200)
  const refused = await call('', '/platform/v1/settings', { token: entered.body.access_token, method: 'PATCH', body: {} })
  expectProblem(refused, 403, 'forbidden')
})
