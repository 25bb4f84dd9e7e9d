/** Threat: strangers get more than was meant for them; two who want the same shut each other out. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Inside, inside } from '../support/inside.ts'
import { call } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { secretOf } from '../support/secrets.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { addMember, addRole } from '../users/cast.ts'

const AT = 'wide-gate'
const PASSWORD = 'Marble-Kettle-52'
let realm: Inside
let admin: string

beforeAll(async () => {
  await copyTenant(AT)
  realm = await inside(AT)
  admin = await tokenOf(AT)
})
const patch = (body: object, token = admin) => call(AT, '/api/v1/settings', { token, method: 'PATCH', body })
const register = (email: string, more: object = {}) =>
  call(AT, '/api/v1/auth/register', { body: { email, password: PASSWORD, ...more } })
const verify = (token: string, registration_secret: string) =>
  call(AT, '/api/v1/auth/verify-email', { body: { token, registration_secret } })
const registered = async (email: string, more: object = {}) => {
  const { status, body } = await register(email, more)
  expect(status).toBe(202)
  return verify(await secretOf(realm, 'register', email), body.registration_secret)
}

describe('the role of strangers', () => {
  beforeAll(async () => {
    await addRole(realm, 'staff', ['user:update', 'user:read'], 'all')
    await addRole(realm, 'power', ['user:update', 'user:delete', 'unit:create'], 'all')
    await addRole(realm, 'doorkeeper', ['setting:read', 'setting:update'], 'all')
    await addRole(realm, 'namer', ['role:read', 'role:update', 'role:delete', 'user:update', 'user:read'], 'all')
    expect((await patch({ registration: true, registration_domains: ['corp.test'], registration_role: 'staff' })).status).toBe(
      200,
    )
  })

  it('is not handed to other strangers by who does not hold it', async () => {
    const keeper = await addMember(realm, 'keeper', { roles: ['doorkeeper'] })
    expectProblem(await patch({ registration_domains: [] }, keeper.token), 403, 'forbidden')
    expectProblem(await patch({ registration_domains: ['corp.test', 'evil.test'] }, keeper.token), 403, 'forbidden')
    expect((await patch({ lock_minutes: 29 }, keeper.token)).status).toBe(200)
  })

  it('is the role that was named, whatever it and others are called later', async () => {
    const namer = await addMember(realm, 'namer', { roles: ['namer'] })
    const rows = await realm.asOwner(sql`select id, name from freehold.roles where name in ('staff', 'power')`)
    const id = (name: string) => rows.find((row) => row.name === name)?.id
    const rename = (role: string, name: string) =>
      call(AT, `/api/v1/roles/${id(role)}`, { token: namer.token, method: 'PATCH', body: { name } })
    expect((await rename('staff', 'staff-once')).status).toBe(200)
    expect((await rename('power', 'staff')).status).toBe(200)
    expect((await registered('eve@corp.test')).status).toBe(204)
    const [eve] = await realm.asOwner(sql`select role from freehold.users where email = 'eve@corp.test'`)
    expect(eve?.role).toBe('staff-once')
    await rename('power', 'power')
    await rename('staff', 'staff')
  })

  it('is not deleted while strangers get it', async () => {
    const namer = await tokenOf(AT, 'namer')
    await realm.asOwner(sql`insert into freehold.roles (id, name) values (gen_random_uuid(), 'passing')`)
    const [role] = await realm.asOwner(sql`select id from freehold.roles where name = 'passing'`)
    expect((await patch({ registration_role: 'passing' })).status).toBe(200)
    expectProblem(await call(AT, `/api/v1/roles/${role?.id}`, { token: namer, method: 'DELETE' }), 409, 'in_use')
    expect((await patch({ registration_role: 'staff' })).status).toBe(200)
    expect((await call(AT, `/api/v1/roles/${role?.id}`, { token: namer, method: 'DELETE' })).status).toBe(204)
  })
})

describe('a username', () => {
  beforeAll(async () => {
    expect((await patch({ registration_domains: [], registration_role: null })).status).toBe(200)
  })

  it('that ten wish for at once goes to one; the others get one like it', async () => {
    const emails = Array.from({ length: 10 }, (_, i) => `wish-${i}@people.test`)
    const proofs: [string, string][] = []
    for (const email of emails) {
      const { body } = await register(email, { username: 'wished' })
      proofs.push([await secretOf(realm, 'register', email), body.registration_secret])
    }
    expect((await Promise.all(proofs.map((proof) => verify(...proof)))).map(({ status }) => status)).toEqual(
      emails.map(() => 204),
    )
    const rows = await realm.asOwner(
      sql`select username from freehold.users where email like 'wish-%' order by username = 'wished' desc`,
    )
    expect(rows).toHaveLength(10)
    expect(rows[0]?.username).toBe('wished')
    for (const { username } of rows.slice(1)) expect(username).toMatch(/^wished-/)
  })

  it.each(['_eve', '-eve', '.eve', "o'neil", '+', '__', `${'a'.repeat(64)}`])(
    'is made of the address %s@ so that it could be typed',
    async (local) => {
      const email = `${local}@odd.test`
      const answer = await register(email)
      if (answer.status === 400) return
      const token = await secretOf(realm, 'register', email)
      expect((await verify(token, answer.body.registration_secret)).status).toBe(204)
      const [row] = await realm.asOwner(sql`select username from freehold.users where email = ${email}`)
      expect(row?.username).toMatch(/^[a-z0-9][a-z0-9._-]{0,63}$/)
    },
  )

  it('that an administrator leaves to the address is so, too', async () => {
    for (const [email, username] of [
      ['_kim@odd.test', 'kim'],
      ["'-.lou_@odd.test", 'lou_'],
    ])
      expect((await call(AT, '/api/v1/users', { token: admin, body: { email } })).body.username).toBe(username)
  })

  it('of 64 characters that is wished for and free is given as it is', async () => {
    const username = 'w'.repeat(64)
    expect((await registered('long@odd.test', { username })).status).toBe(204)
    const [row] = await realm.asOwner(sql`select username from freehold.users where email = 'long@odd.test'`)
    expect(row?.username).toBe(username)
  })

  it.each(['bo\u3164', 'bo\uFE0F', 'b\u034Fo', '\u115Fbo', 'bo\u180B'])(
    'with what nobody sees in it is refused: %j',
    async (username) => {
      expectProblem(await register('seen@odd.test', { username }), 400, 'invalid_request')
      const made = await call(AT, '/api/v1/users', { token: admin, body: { email: 'seen@odd.test', username } })
      expectProblem(made, 400, 'invalid_request')
    },
  )
})

it('nothing more is sent to who registered once the door is closed, and the answer is the same', async () => {
  await register('late@people.test')
  expect((await patch({ registration: false })).status).toBe(200)
  const before = await realm.asOwner(sql`select 1 from freehold.mails where recipient = 'late@people.test'`)
  const answer = await call(AT, '/api/v1/auth/verify-email/resend', { body: { email: 'late@people.test' } })
  expect(answer.status).toBe(202)
  expect(await realm.asOwner(sql`select 1 from freehold.mails where recipient = 'late@people.test'`)).toHaveLength(before.length)
})
