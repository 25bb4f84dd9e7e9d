/** Logins with the ID token of a provider: by identity, by a verified address, as somebody new; once for each token. */
import { sql } from 'drizzle-orm'
import { decodeJwt } from 'jose'
import { beforeAll, describe, expect, it } from 'vitest'
import { addPerson, type Inside, inside, type Person, takePassword } from '../support/inside.ts'
import { setLimits } from '../support/limits.ts'
import { mailsTo } from '../support/mails.ts'
import { call } from '../support/people.ts'
import { expectDiscreet, expectProblem } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { addRole } from '../users/cast.ts'
import { addProvider, askedUnder, enter, type Made, makeProvider, NONCE, patchProvider } from './cast.ts'

const AT = 'external-logins'
let realm: Inside
let admin: string
let provider: Made

beforeAll(async () => {
  await copyTenant(AT)
  realm = await inside(AT)
  admin = await tokenOf(AT)
  provider = await makeProvider()
})

const verified = (name: string) => ({ sub: name, email: `${name}@people.test`, email_verified: true })
const reasonOf = async () => {
  const [entry] = await realm.asOwner(
    sql`select d.after ->> 'reason' as reason from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id
        where l.activity_type = 'LOGIN_FAILED' order by l.at desc, l.id limit 1`,
  )
  return entry?.reason
}

describe('a first login', () => {
  it('with a verified address creates a user where the provider is set so, with its role, in two round trips', async () => {
    const at = await addProvider(AT, admin, provider.issuer, { creates_users: true })
    const claims = { ...verified('new-ann'), given_name: 'Ann', family_name: 'Núñez', locale: 'es-PE' }
    const answer = await enter(AT, at.name, await provider.token(claims))
    expect([answer.status, answer.trips], JSON.stringify(answer.body)).toEqual([200, 2])
    expectDiscreet(answer)
    expect(decodeJwt(answer.body.access_token)).toMatchObject({ amr: ['fed'], acr: 'aal1', username: 'new-ann', role: 'user' })
    expect(answer.body.device_token).toBeUndefined()
    const me = await call(AT, '/api/v1/auth/me', { token: answer.body.access_token })
    expect(me.body).toMatchObject({ email: 'new-ann@people.test', email_verified: true, given_name: 'Ann', family_name: 'Núñez' })
    const again = await enter(AT, at.name, await provider.token({ ...claims, email: 'other@people.test', jti: '2' }))
    expect(decodeJwt(again.body.access_token).sub).toBe(me.body.sub)
  })

  it('of twenty at once of one person creates one user', async () => {
    const at = await addProvider(AT, admin, provider.issuer, { creates_users: true })
    const tokens = await Promise.all(
      Array.from({ length: 20 }, (_, i) => provider.token({ ...verified('crowd'), jti: String(i) })),
    )
    const answers = await Promise.all(tokens.map((token) => enter(AT, at.name, token)))
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
    expect(new Set(answers.map(({ body }) => decodeJwt(body.access_token).sub)).size).toBe(1)
  })

  it('of twenty at once creates as many users as the plan has places for', async () => {
    const full = 'external-full'
    await copyTenant(full)
    const there = await inside(full)
    const at = await addProvider(full, await tokenOf(full), provider.issuer, { creates_users: true })
    const [{ n } = { n: 0 }] = await there.asOwner(sql`select count(*)::int as n from freehold.users where is_active`)
    await setLimits(there.id, { max_users: n + 3 })
    const tokens = await Promise.all(Array.from({ length: 20 }, (_, i) => provider.token(verified(`full-${i}`))))
    const answers = await Promise.all(tokens.map((token) => enter(full, at.name, token)))
    expect(answers.map(({ status }) => status).sort()).toEqual([...Array(3).fill(200), ...Array(17).fill(409)])
    for (const answer of answers.filter(({ status }) => status === 409)) expectProblem(answer, 409, 'limit_reached')
  })

  it('is refused where the provider creates nobody, and in the same words where it would but the address is not verified', async () => {
    const [none, some] = [
      await addProvider(AT, admin, provider.issuer),
      await addProvider(AT, admin, provider.issuer, { creates_users: true, links_by_email: true }),
    ]
    const person = await addPerson(realm, 'unproven')
    const refused = [
      await enter(AT, none.name, await provider.token(verified('nobody-knows'))),
      await enter(AT, some.name, await provider.token({ ...verified('unproven'), email_verified: false })),
      await enter(AT, some.name, await provider.token({ sub: 'no-address' })),
      await enter(AT, some.name, await provider.token({ ...verified('x'), email: 'not an address' })),
      await enter(AT, none.name, await provider.token({ ...verified('unproven'), jti: '2' })),
    ]
    for (const answer of refused) expectProblem(answer, 401, 'invalid_credentials')
    expect(new Set(refused.map(({ body }) => body.detail)).size).toBe(1)
    expect(await reasonOf()).toBe('not_linked')
    expect(await realm.asOwner(sql`select 1 from freehold.external_identities where user_id = ${person.id}`)).toEqual([])
  })

  it('gives the roles of the values of a claim, and keeps the sub of Cognito', async () => {
    await addRole(realm, 'ext-editor', ['unit:read'], 'all')
    await addRole(realm, 'ext-viewer', ['unit:read'], 'all')
    const roles = await realm.asOwner(sql`select id, name from freehold.roles where name like 'ext-%' order by name`)
    const [editor, viewer] = roles.map(({ id }) => id as string)
    const at = await addProvider(AT, admin, provider.issuer, {
      type: 'cognito',
      creates_users: true,
      role_id: viewer,
      claims: { roles: 'cognito:groups' },
      role_mapping: { editors: editor, viewers: viewer },
    })
    const sub = crypto.randomUUID()
    const both = await enter(
      AT,
      at.name,
      await provider.token({
        ...verified('cognito-bea'),
        sub,
        token_use: 'id',
        'cognito:groups': ['editors', 'viewers', 'admins'],
      }),
    )
    expect(both.status, JSON.stringify(both.body)).toBe(200)
    expect(decodeJwt(both.body.access_token)).toMatchObject({ sub, role: 'ext-editor', roles: ['ext-editor', 'ext-viewer'] })
    const neither = await enter(AT, at.name, await provider.token({ ...verified('cognito-cal'), token_use: 'id' }))
    expect(decodeJwt(neither.body.access_token)).toMatchObject({ roles: ['ext-viewer'] })
  })

  it('of somebody whose address a user has links where the provider is set so, and tells them by mail', async () => {
    const at = await addProvider(AT, admin, provider.issuer, { links_by_email: true, label: 'Acme staff' })
    const dan = await addPerson(realm, 'linked-dan')
    // Whoever registered this address may not be who owns it.
    const before = await enter(AT, at.name, await provider.token({ ...verified('dan-there'), email: dan.email }))
    expectProblem(before, 401, 'invalid_credentials')
    expect(await reasonOf()).toBe('not_linked')
    await verify(dan)
    const answer = await enter(
      AT,
      at.name,
      await provider.token({ ...verified('dan-there'), email: ` ${dan.email.toUpperCase()}`, jti: '2' }),
    )
    expect([answer.status, answer.trips], JSON.stringify(answer.body)).toEqual([200, 2])
    expect(decodeJwt(answer.body.access_token).sub).toBe(dan.id)
    const [mail] = await mailsTo(dan.email)
    expect(mail?.text).toContain('Acme staff')
  })

  it('links no administrator: only they themselves can add a way in', async () => {
    const at = await addProvider(AT, admin, provider.issuer, { links_by_email: true, creates_users: true })
    const [bo] = await realm.asOwner(
      sql`update freehold.users set email_verified = true where username = 'bo' returning id, email`,
    )
    expectProblem(
      await enter(AT, at.name, await provider.token({ ...verified('bo-there'), email: bo?.email })),
      401,
      'invalid_credentials',
    )
    expect(await reasonOf()).toBe('link_needs_login')
    const linked = await call(AT, '/api/v1/auth/identities', {
      token: admin,
      body: { provider: at.name, id_token: await provider.token({ sub: 'bo-there', jti: '2' }), nonce: NONCE },
    })
    expect(linked.status, JSON.stringify(linked.body)).toBe(200)
    const answer = await enter(AT, at.name, await provider.token({ sub: 'bo-there', jti: '3' }))
    expect(decodeJwt(answer.body.access_token).sub).toBe(bo?.id)
  })
})

const verify = ({ id }: Pick<Person, 'id'>) =>
  realm.asOwner(sql`update freehold.users set email_verified = true where id = ${id}`)

describe('a login', () => {
  it('takes each token once: of twenty at once a single one, and none in another spelling', async () => {
    const at = await addProvider(AT, admin, provider.issuer, { creates_users: true })
    const token = await provider.token(verified('once'))
    const answers = await Promise.all(Array.from({ length: 20 }, () => enter(AT, at.name, token)))
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
    expect(await reasonOf()).toBe('token_replayed')
    expectProblem(await enter(AT, at.name, `${token}=`), 401, 'invalid_credentials')
  })

  it('asks for the second factor of the tenant, unless the provider is trusted for its own', async () => {
    const eve = await addPerson(realm, 'ext-eve')
    await verify(eve)
    await realm.asOwner(
      sql`update freehold.users set factors = '{totp}' where id = ${eve.id}`,
      sql`insert into freehold.totp_factors (user_id, secret_encrypted, enabled_at) values (${eve.id}, 'k1.x.y', now())`,
    )
    const at = await addProvider(AT, admin, provider.issuer, { links_by_email: true })
    const claims = { ...verified('ext-eve'), email: eve.email }
    const asked = await enter(AT, at.name, await provider.token({ ...claims, amr: ['pwd', 'mfa'] }))
    expect([asked.status, asked.body.mfa_required], JSON.stringify(asked.body)).toEqual([200, true])
    expect((await patchProvider(AT, admin, at.id, { mfa_values: ['mfa'] })).status).toBe(200)
    expect((await enter(AT, at.name, await provider.token({ ...claims, amr: ['pwd'] }))).body.mfa_required).toBe(true)
    const trusted = await enter(AT, at.name, await provider.token({ ...claims, amr: ['pwd', 'mfa'], jti: '3' }))
    expect(decodeJwt(trusted.body.access_token)).toMatchObject({ amr: ['fed', 'mfa'], acr: 'aal2' })
  })

  it('of somebody who is not active, or without a role, or with a provider that is disabled, opens nothing', async () => {
    const at = await addProvider(AT, admin, provider.issuer, { creates_users: true })
    const { body } = await enter(AT, at.name, await provider.token(verified('leaver')))
    const { sub } = decodeJwt(body.access_token)
    await realm.asOwner(sql`update freehold.users set is_active = false where id = ${sub}`)
    expectProblem(await enter(AT, at.name, await provider.token({ ...verified('leaver'), jti: '2' })), 401, 'invalid_credentials')
    expect(await reasonOf()).toBe('inactive')
    expect((await patchProvider(AT, admin, at.id, { is_enabled: false })).status).toBe(200)
    expectProblem(await enter(AT, at.name, await provider.token({ ...verified('leaver'), jti: '3' })), 404, 'not_found')
    expectProblem(await enter(AT, 'nobody', await provider.token()), 404, 'not_found')
  })

  it('works for years where passwords must be changed: who has none has none that expires', async () => {
    const at = await addProvider(AT, admin, provider.issuer, { links_by_email: true })
    const fay = await addPerson(realm, 'ext-fay')
    await verify(fay)
    await takePassword(realm, 'ext-fay')
    await realm.asOwner(
      sql`update freehold.users set password_changed_at = now() - interval '400 days' where id = ${fay.id}`,
      sql`update freehold.tenant set password_days = 90`,
    )
    const answer = await enter(AT, at.name, await provider.token({ ...verified('fay'), email: fay.email }))
    await realm.asOwner(sql`update freehold.tenant set password_days = 0`)
    expect(answer.body).toMatchObject({ must_change_password: false, password_expires_at: null })
  })

  it('asks the provider for its documents once, however many log in', async () => {
    const quiet = await makeProvider()
    const at = await addProvider(AT, admin, quiet.issuer, { creates_users: true })
    const people = Array.from({ length: 8 }, (_, i) => `quiet-${i}`)
    for (const name of people) expect((await enter(AT, at.name, await quiet.token(verified(name)))).status).toBe(200)
    expect(await askedUnder(quiet.path)).toHaveLength(2)
  })
})
