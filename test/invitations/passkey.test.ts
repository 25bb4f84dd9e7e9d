/** Accepting an invitation with a passkey. Threat: a passkey of somebody else, of another invitation or of another tenant is taken for the account. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import { CHALLENGE_SECONDS } from '../../src/passkeys/challenge.ts'
import { type Authenticator, type Differently, newAuthenticator } from '../passkeys/authenticator.ts'
import { type Cast, cast } from '../roles/cast.ts'
import { originOf } from '../support/jar.ts'
import { mailboxOf } from '../support/mails.ts'
import { call } from '../support/people.ts'
import { expectDiscreet, expectProblem, pointers } from '../support/refusal.ts'
import { hiddenIn, newVisitor, tagIn, textOf } from '../support/visitors.ts'
import { accept, invited, newAddress, PASSWORD } from './cast.ts'

const AT = 'accepts-key'
const OTHER = 'accepts-key-too'
let all: Cast
let elsewhere: Cast

beforeAll(async () => {
  ;[all, elsewhere] = await Promise.all([cast(AT), cast(OTHER)])
})

const optionsFor = (token: string, at = AT) => call(at, '/api/v1/invitations/accept/options', { body: { token } })
async function made(token: string, how: Differently = {}, at = AT): Promise<{ key: Authenticator; passkey: object }> {
  const key = await newAuthenticator(originOf(at))
  return { key, passkey: await key.create((await optionsFor(token, at)).body, how) }
}
const login = async (key: Authenticator, at = AT) => {
  const options = (await call(at, '/api/v1/auth/passkeys/login/options', { body: {} })).body
  return call(at, '/api/v1/auth/passkeys/login', { body: { credential: await key.get(options) } })
}
const usersOf = async (email: string) =>
  all.realm.asOwner(
    sql`select u.id, (select count(*)::int from freehold.passwords p where p.user_id = u.id) as passwords,
      (select count(*)::int from freehold.passkeys k where k.user_id = u.id) as passkeys from freehold.users u where u.email = ${email}`,
  )

describe('a new person with a passkey', () => {
  it('is made without a password, in two round trips from options of one, is mailed, and logs in with it', async () => {
    const { email, token, id } = await invited(all.realm, all.bo.token, { roles: ['user'], given_name: 'Ann' })
    const options = await optionsFor(token)
    expect([options.status, options.trips]).toEqual([200, 1])
    expect(options.body).toMatchObject({
      rp: { id: `${AT}.freehold.test` },
      user: { name: email, displayName: 'Ann' },
      excludeCredentials: [],
      attestation: 'none',
      authenticatorSelection: { residentKey: 'required', userVerification: 'required' },
    })
    // Who asks twice leaves one passkey in their device.
    expect((await optionsFor(token)).body.user.id).toBe(options.body.user.id)
    const key = await newAuthenticator(originOf(AT))
    const accepted = await accept(AT, { token, passkey: await key.create(options.body), family_name: 'Lee' })
    expect([accepted.status, accepted.trips], JSON.stringify(accepted.body)).toEqual([201, 2])
    expect(accepted.body).toMatchObject({ email, roles: ['user'] })
    expect(await usersOf(email)).toEqual([{ id: accepted.body.id, passwords: 0, passkeys: 1 }])
    expect((await all.ask(`/invitations/${id}`)).body).toMatchObject({ status: 'accepted', accepted_by: accepted.body.id })
    const entered = await login(key)
    expect(entered.status, JSON.stringify(entered.body)).toBe(200)
    const me = await call(AT, '/api/v1/auth/me', { token: entered.body.access_token })
    expect(me.body).toMatchObject({ email, given_name: 'Ann', family_name: 'Lee' })
    expect((await mailboxOf(email)).map(({ subject }) => subject)).toEqual(
      expect.arrayContaining([expect.stringMatching(/passkey/i)]),
    )
    const audited = await all.realm.asOwner(
      sql`select l.activity_type, l.resource_type from freehold.audit_log l where l.user_id = ${accepted.body.id} and l.resource_type in ('passkey', 'invitation')`,
    )
    expect(audited.map(({ resource_type }) => resource_type).sort()).toEqual(['invitation', 'passkey'])
    expectProblem(await call(AT, '/api/v1/auth/login', { body: { email, password: PASSWORD } }), 401, 'invalid_credentials')
  })

  it('is made once: of twenty at once with one answer, or with an answer each, one', async () => {
    const one = await invited(all.realm, all.bo.token)
    const { passkey } = await made(one.token)
    const same = await Promise.all(Array.from({ length: 20 }, () => accept(AT, { token: one.token, passkey })))
    const two = await invited(all.realm, all.bo.token)
    const keys = await Promise.all(Array.from({ length: 20 }, () => made(two.token)))
    const each = await Promise.all(keys.map(({ passkey }) => accept(AT, { token: two.token, passkey })))
    for (const [answers, email] of [
      [same, one.email],
      [each, two.email],
    ] as const) {
      expect(answers.filter(({ status }) => status === 201)).toHaveLength(1)
      for (const { status, body } of answers.filter(({ status }) => status !== 201))
        expect([400, 409], JSON.stringify(body)).toContain(status)
      expect(await usersOf(email)).toMatchObject([{ passwords: 0, passkeys: 1 }])
    }
    expectProblem(await accept(AT, { token: one.token, passkey }), 400, 'invalid_request')
  })

  it('has not used up the answer where nothing was made', async () => {
    const { email, token } = await invited(all.realm, all.bo.token)
    const { key, passkey } = await made(token)
    await all.realm.asOwner(sql`update freehold.tenant set is_active = false`)
    expect((await accept(AT, { token, passkey })).status).toBe(403)
    await all.realm.asOwner(sql`update freehold.tenant set is_active = true`)
    expect((await accept(AT, { token, passkey })).status).toBe(201)
    expect(await usersOf(email)).toHaveLength(1)
    expect((await login(key)).status).toBe(200)
  })
})

describe('a passkey is refused', () => {
  const wrongAt = async (token: string, passkey: object, member = 'response/clientDataJSON') => {
    const answer = await accept(AT, { token, passkey })
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual([`#/passkey/${member}`])
    expectDiscreet(answer)
  }

  it('that was made for another invitation, for a login, or for a session', async () => {
    const [mine, theirs] = [await invited(all.realm, all.bo.token), await invited(all.realm, all.bo.token)]
    await wrongAt(mine.token, (await made(theirs.token)).passkey)
    const key = await newAuthenticator(originOf(AT))
    const { challenge } = (await call(AT, '/api/v1/auth/passkeys/login/options', { body: {} })).body
    const options = (await optionsFor(mine.token)).body
    await wrongAt(mine.token, await key.create(options, { challenge }))
    const session = await call(AT, '/api/v1/auth/passkeys/register/options', { token: all.bo.token, body: {} })
    await wrongAt(mine.token, await key.create(options, { challenge: session.body.challenge }))
    // Nor is one of an invitation registered in a session.
    const registered = await call(AT, '/api/v1/auth/passkeys/register', {
      token: all.bo.token,
      body: { credential: (await made(mine.token)).passkey },
    })
    expectProblem(registered, 400, 'invalid_request')
    expect(await usersOf(mine.email)).toEqual([])
  })

  it('of another tenant, also with a token that both would know', async () => {
    const mine = await invited(all.realm, all.bo.token)
    const theirs = await invited(elsewhere.realm, elsewhere.bo.token)
    await elsewhere.realm.asOwner(
      sql`update freehold.invitations set token_hash = (select decode(${Buffer.from(
        await crypto.subtle.digest('SHA-256', new TextEncoder().encode(mine.token)),
      ).toString('hex')}, 'hex')) where id = ${theirs.id}`,
    )
    const foreign = await optionsFor(mine.token, OTHER)
    expect(foreign.status).toBe(200)
    const key = await newAuthenticator(originOf(AT))
    await wrongAt(mine.token, await key.create({ ...foreign.body, rp: { id: `${AT}.freehold.test` } }))
    expectProblem(await optionsFor(mine.token.slice(1)), 400, 'invalid_request')
  })

  it.each<[string, Differently, string]>([
    ['of another origin', { origin: 'https://elsewhere.test' }, 'response/clientDataJSON'],
    ['of another host', { rp_id: 'elsewhere.test' }, 'response/attestationObject'],
    ['whose user was not verified', { flags: 0x01 }, 'response/attestationObject'],
    ['that is an answer to a login', { type: 'webauthn.get' }, 'response/clientDataJSON'],
    ['with a challenge of nobody', { challenge: 'AAAA' }, 'response/clientDataJSON'],
  ])('%s', async (_, how, member) => {
    const { email, token } = await invited(all.realm, all.bo.token)
    await wrongAt(token, (await made(token, how)).passkey, member)
    expect(await usersOf(email)).toEqual([])
    expect((await accept(AT, { token, passkey: (await made(token)).passkey })).status).toBe(201)
  })

  it('after five minutes', async () => {
    const { token } = await invited(all.realm, all.bo.token)
    const { passkey } = await made(token)
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + (CHALLENGE_SECONDS + 1) * 1000 })
    await wrongAt(token, passkey).finally(() => vi.useRealTimers())
  })

  it('after the invitation was sent again: its token is dead, and so is the challenge', async () => {
    const { token, id, email } = await invited(all.realm, all.bo.token)
    const { passkey } = await made(token)
    expect((await all.ask(`/invitations/${id}/resend`, { body: {} })).status).toBe(200)
    const answer = await accept(AT, { token, passkey })
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual(['#/token'])
    expect(await usersOf(email)).toEqual([])
  })

  it('that is registered already, or that comes with a password', async () => {
    const [one, two] = [await invited(all.realm, all.bo.token), await invited(all.realm, all.bo.token)]
    const { key, passkey } = await made(one.token)
    expect((await accept(AT, { token: one.token, passkey })).status).toBe(201)
    const again = await key.create((await optionsFor(two.token)).body)
    expectProblem(await accept(AT, { token: two.token, passkey: again }), 409, 'already_exists')
    const both = await accept(AT, { token: two.token, passkey: (await made(two.token)).passkey, password: PASSWORD })
    expectProblem(both, 400, 'invalid_request')
    expect(pointers(both)).toEqual(['#/passkey'])
    const neither = await accept(AT, { token: two.token })
    expect(pointers(neither)).toEqual(['#/password'])
  })

  it('for an address that has an account, as are options for it', async () => {
    const email = newAddress()
    const { token } = await invited(all.realm, all.bo.token, { email })
    const { passkey } = await made(token)
    await all.realm.asOwner(
      sql`insert into freehold.users (id, username, email) values (gen_random_uuid(), 'has-it-already', ${email})`,
    )
    expectProblem(await accept(AT, { token, passkey }), 409, 'already_exists')
    expectProblem(await optionsFor(token), 409, 'already_exists')
  })
})

describe('the page', () => {
  it('offers a passkey beside a password, and takes it', async () => {
    const { email, token } = await invited(all.realm, all.bo.token, { given_name: 'Ann' })
    const visitor = newVisitor(AT)
    const shown = await visitor.send('/invitation', '/invitation/show', { token })
    expect([shown.status, shown.trips]).toEqual([200, 1])
    expect(textOf(shown.html)).toContain('Accept with a passkey')
    const form = tagIn(shown.html, 'form', { 'data-passkey': 'create' })
    expect([form?.action, form?.['data-again']]).toEqual(['/invitation/accept', `/invitation#token=${token}`])
    const options = JSON.parse(form?.['data-options'] ?? '')
    const key = await newAuthenticator(originOf(AT))
    const hidden = hiddenIn(shown.html, '/invitation/accept')
    const wrong = await visitor.ask('/invitation/accept', { form: { ...hidden, passkey: '{"id": 1}' } })
    expect(wrong.status).toBe(400)
    const passkey = JSON.stringify(await key.create(options))
    const done = await visitor.ask('/invitation/accept', { form: { ...hidden, given_name: 'Anna', passkey } })
    expect([done.status, done.location, done.trips]).toEqual([303, '/login?said=invited', 2])
    expect(await usersOf(email)).toMatchObject([{ passwords: 0, passkeys: 1 }])
    expect((await login(key)).status).toBe(200)
  })

  it('offers none to whom has an account', async () => {
    const who = await all.member('has-account')
    const organization = await all.ask('/organizations', { body: { name: 'Of passkeys' } })
    const { token } = await invited(all.realm, all.bo.token, { email: who.email, organization_id: organization.body.id })
    const shown = await newVisitor(AT).send('/invitation', '/invitation/show', { token })
    expect(tagIn(shown.html, 'form', { 'data-passkey': 'create' })).toBeNull()
  })
})
