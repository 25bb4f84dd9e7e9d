/**
 * Identities of users at providers. Threat: somebody at an open session adds a way in of their own that its owner never learns of, takes an
 * identity that is somebody else's, or sees those of others; or the last way in is gone.
 */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { databaseOf } from '../support/databases.ts'
import { addPerson, type Inside, inside, takePassword } from '../support/inside.ts'
import { mailsTo } from '../support/mails.ts'
import { call } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { plantSession, tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { addProvider, enter, type Made, makeProvider, NONCE, patchProvider } from './cast.ts'

const AT = 'external-identities'
const PATH = '/api/v1/auth/identities'
let realm: Inside
let admin: string
let provider: Made
let at: Awaited<ReturnType<typeof addProvider>>

beforeAll(async () => {
  await copyTenant(AT)
  realm = await inside(AT)
  admin = await tokenOf(AT)
  provider = await makeProvider()
  at = await addProvider(AT, admin, provider.issuer, { label: 'Acme staff' })
})

let people = 0
async function someone() {
  const person = await addPerson(realm, `linker-${people++}`)
  return { ...person, ...(await plantSession(realm, person.username)) }
}
const link = (token: string | undefined, id_token: string, more: object = {}) =>
  call(AT, PATH, { token, body: { provider: at.name, id_token, nonce: NONCE, ...more } })
const list = async (token: string) => (await call(AT, PATH, { token })).body.data
const unlink = (token: string, id: string) => call(AT, `${PATH}/${id}`, { token, method: 'DELETE' })

describe('an identity', () => {
  it('is linked, listed, logs in, and is removed; its user is told by mail', async () => {
    const ann = await someone()
    const answer = await link(ann.access_token, await provider.token({ sub: 'ann-there', email: 'ann@elsewhere.test' }))
    expect([answer.status, answer.trips], JSON.stringify(answer.body)).toEqual([200, 2])
    expect(answer.body).toMatchObject({
      provider: at.name,
      issuer: provider.issuer,
      external_id: 'ann-there',
      email: 'ann@elsewhere.test',
    })
    expect(await list(ann.access_token)).toEqual([answer.body])
    expect((await enter(AT, at.name, await provider.token({ sub: 'ann-there', jti: '2' }))).status).toBe(200)
    const again = await link(ann.access_token, await provider.token({ sub: 'ann-there', jti: '3' }))
    expect(again.body.id).toBe(answer.body.id)
    expect((await unlink(ann.access_token, answer.body.id)).status).toBe(204)
    expect(await list(ann.access_token)).toEqual([])
    expectProblem(await enter(AT, at.name, await provider.token({ sub: 'ann-there', jti: '4' })), 401, 'invalid_credentials')
    const mails = await mailsTo(ann.email, 2)
    expect(mails.map(({ subject }) => subject).join()).toMatch(/a new way to log in.*a way to log in was removed/)
  })

  it('of several providers may be one person’s; one identity is one user’s', async () => {
    const [bea, cal] = [await someone(), await someone()]
    const second = await addProvider(AT, admin, (await makeProvider()).issuer)
    expect((await link(bea.access_token, await provider.token({ sub: 'shared' }))).status).toBe(200)
    expectProblem(await link(cal.access_token, await provider.token({ sub: 'shared', jti: '2' })), 409, 'already_exists')
    expect(await list(cal.access_token)).toEqual([])
    expectProblem(
      await link(bea.access_token, await provider.token({ sub: 'x' }), { provider: second.name }),
      400,
      'invalid_request',
      '#/id_token',
    )
    expectProblem(await link(bea.access_token, 'x', { provider: 'nobody' }), 404, 'not_found')
  })

  it('is linked once by twenty at once, and a token counts once', async () => {
    const people = await Promise.all(Array.from({ length: 5 }, someone))
    const token = await provider.token({ sub: 'raced' })
    const same = await Promise.all(people.map(({ access_token }) => link(access_token, token)))
    expect(same.filter(({ status }) => status === 200)).toHaveLength(1)
    const others = await Promise.all(
      people.map(async ({ access_token }, i) => link(access_token, await provider.token({ sub: 'raced-too', jti: String(i) }))),
    )
    expect(others.filter(({ status }) => status === 200)).toHaveLength(1)
    for (const answer of others.filter(({ status }) => status !== 200)) expectProblem(answer, 409, 'already_exists')
    const dan = await someone()
    const used = await provider.token({ sub: 'used-first' })
    await link(dan.access_token, used)
    expectProblem(await link((await someone()).access_token, used), 409, 'illegal_state')
  })

  it('takes a login of the last ten minutes, to link as to remove', async () => {
    const eve = await someone()
    const { body } = await link(eve.access_token, await provider.token({ sub: 'eve-there' }))
    await realm.asOwner(
      sql`update freehold.sessions set created_at = now() - interval '1 hour', authenticated_at = null where user_id = ${eve.id}`,
    )
    expectProblem(await link(eve.access_token, await provider.token({ sub: 'eve-too' })), 401, 'step_up_required')
    expectProblem(await unlink(eve.access_token, body.id), 401, 'step_up_required')
    expect(await list(eve.access_token)).toHaveLength(1)
    expectProblem(await link(undefined, 'x'), 401, 'token_missing')
  })

  it('of others is not there', async () => {
    const [fay, gil] = [await someone(), await someone()]
    const { body } = await link(fay.access_token, await provider.token({ sub: 'fay-there' }))
    expectProblem(await unlink(gil.access_token, body.id), 404, 'not_found')
    expectProblem(await unlink(admin, body.id), 404, 'not_found')
  })

  it('that is the last way in stays; with a passkey, a password or another one it goes', async () => {
    const hal = await someone()
    const first = (await link(hal.access_token, await provider.token({ sub: 'hal-1' }))).body
    await takePassword(realm, hal.username)
    expectProblem(await unlink(hal.access_token, first.id), 409, 'illegal_state')
    const second = (await link(hal.access_token, await provider.token({ sub: 'hal-2' }))).body
    const gone = await Promise.all([unlink(hal.access_token, first.id), unlink(hal.access_token, second.id)])
    expect(gone.map(({ status }) => status).sort()).toEqual([204, 409])
    const [left] = await list(hal.access_token)
    await realm.asOwner(
      sql`insert into freehold.passkeys (id, user_id, credential_id, public_key, counter, rp_id, name, aaguid, is_synced)
          values (gen_random_uuid(), ${hal.id}, 'hal', '\\x01', 0, 'x', 'Laptop', gen_random_uuid(), false)`,
    )
    expect((await unlink(hal.access_token, left.id)).status).toBe(204)
    await realm.asOwner(sql`update freehold.sessions set aal = 2 where user_id = ${hal.id}`)
    const [key] = (await call(AT, '/api/v1/auth/passkeys', { token: hal.access_token })).body.data
    const remove = () => call(AT, `/api/v1/auth/passkeys/${key.id}`, { token: hal.access_token, method: 'DELETE' })
    expectProblem(await remove(), 409, 'illegal_state')
    await link(hal.access_token, await provider.token({ sub: 'hal-3' }))
    expect((await patchProvider(AT, admin, at.id, { is_enabled: false })).status).toBe(200)
    expectProblem(await remove(), 409, 'illegal_state')
    expect((await patchProvider(AT, admin, at.id, { is_enabled: true })).status).toBe(200)
    expect((await remove()).status).toBe(204)
  })

  it('keeps its provider from being removed', async () => {
    const own = await addProvider(AT, admin, provider.issuer)
    await link((await someone()).access_token, await provider.token({ sub: 'kept' }), { provider: own.name })
    expectProblem(await call(AT, `/api/v1/settings/providers/${own.id}`, { token: admin, method: 'DELETE' }), 409, 'in_use')
  })

  it('is made by the Worker alone: the app login cannot insert one, or spend a token', async () => {
    const { asApp } = await databaseOf(AT)
    for (const statement of [
      sql`insert into freehold.external_identities (id, user_id, provider_id, provider, issuer, external_id) select gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'x', 'x', 'x'`,
      sql`select access.spend_external_token('\\x01', now())`,
      sql`select access.link_identity(${realm.id}, 'x', gen_random_uuid(), now(), '{}', '\\x01', now())`,
    ])
      await expect(asApp(statement)).rejects.toThrow()
  })
})
