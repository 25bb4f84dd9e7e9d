/**
 * What people do with their own data. Threat: whoever finds an open session has its owner erased at once; an administrator erases somebody
 * who may do more, or the last of them; two ask at once; somebody reads another person's data by an export.
 */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { crc32 } from '../../src/personal/zip.ts'
import { eraseDue } from '../../src/tenants/maintenance/erasures.ts'
import { databaseOf, maintainLater } from '../support/databases.ts'
import { addPerson, type Inside, inside, type Person } from '../support/inside.ts'
import { linksTo } from '../support/mails.ts'
import { type Answer, call } from '../support/people.ts'
import { expectProblem, pointers } from '../support/refusal.ts'
import { plantSession, tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { addRole } from '../users/cast.ts'

const AT = 'personal-requests'
let realm: Inside
let admin: string
let people = 0

beforeAll(async () => {
  await copyTenant(AT)
  await copyTenant(`${AT}-other`)
  realm = await inside(AT)
  await maintainLater(realm.id)
  admin = await tokenOf(AT)
})

type Known = Person & { token: string; session_id: string }
async function someone(roles: string[] = ['user']): Promise<Known> {
  const person = await addPerson(realm, `own-${people++}`, { roles })
  const { access_token, session_id } = await plantSession(realm, person.username)
  return { ...person, token: access_token, session_id }
}
const ask = (token: string | undefined, path: string, more: object = {}) => call(AT, `/api/v1${path}`, { token, ...more })
const erase = (who: { token: string }, body: object = {}) => ask(who.token, '/auth/me/erase', { body })
const order = (token: string, id: string, body: object = { reason: 'asked by letter' }) =>
  ask(token, `/users/${id}/erase`, { body })

describe('one’s own profile', () => {
  it('is changed in one round trip, whatever one’s roles let one do', async () => {
    await addRole(realm, 'sees-nothing', ['unit:read'], 'own')
    const who = await someone(['sees-nothing'])
    const answer = await ask(who.token, '/auth/me', {
      method: 'PATCH',
      body: {
        given_name: 'Ada',
        phone: '+51 999 111',
        locale: 'es-PE',
        timezone: 'America/Lima',
        preferences: { a: 1 },
        description: null,
      },
    })
    expect(answer.status, JSON.stringify(answer.body)).toBe(200)
    expect(answer.trips).toBe(1)
    expect(answer.body).toMatchObject({
      id: who.id,
      given_name: 'Ada',
      family_name: 'Okonkwo',
      locale: 'es-PE',
      preferences: { a: 1 },
    })
    const merged = await ask(who.token, '/auth/me', { method: 'PATCH', body: { preferences: { b: 2, a: null }, locale: null } })
    expect(merged.body).toMatchObject({ preferences: { b: 2 }, locale: 'en', timezone: 'America/Lima' })
  })

  it('is not changed by who read an older one, and of twenty who read the same one changes it', async () => {
    const who = await someone()
    const { headers } = await ask(who.token, '/users/me')
    const change = (n: number) =>
      ask(who.token, '/auth/me', { method: 'PATCH', body: { description: `${n}` }, headers: { 'If-Match': headers.get('ETag') } })
    const all = await Promise.all(Array.from({ length: 20 }, (_, n) => change(n)))
    expect(all.map(({ status }) => status).sort()).toEqual([200, ...Array(19).fill(412)])
    expectProblem(await change(21), 412, 'etag_mismatch')
  })

  it.each([
    ['an address', { email: 'x@y.test' }, '#/email'],
    ['a role', { role: 'admin' }, '#/role'],
    ['a unit', { unit_id: crypto.randomUUID() }, '#/unit_id'],
    ['a time zone that is none', { timezone: 'Moon/Sea' }, '#/timezone'],
    ['a description that is too long', { description: 'x'.repeat(141) }, '#/description'],
  ])('does not take %s', async (_, body, pointer) => {
    const who = await someone()
    const answer = await ask(who.token, '/auth/me', { method: 'PATCH', body })
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual([pointer])
  })
})

describe('an export', () => {
  it('is one document with everything and no secret, in one round trip, and is recorded', async () => {
    const who = await someone()
    await ask(who.token, '/auth/me', { method: 'PATCH', body: { description: 'mine' } })
    const answer = await ask(who.token, '/auth/me/export')
    expect(answer.status, JSON.stringify(answer.body)).toBe(200)
    expect(answer.headers.get('Content-Disposition')).toMatch(/^attachment; filename="personal-data-[\d-]+\.json"$/)
    expect(answer.body).toMatchObject({
      format: 'freehold-personal-data/1',
      tenant: { id: realm.id },
      user: { id: who.id, email: who.email, description: 'mine' },
      sessions: [{ id: who.session_id, address: '192.0.2.1' }],
      roles: [{ role: 'user' }],
    })
    expect(answer.body.activities.map(({ activity_type }: any) => activity_type)).toEqual(
      expect.arrayContaining(['PROFILE_UPDATE', 'EXPORT']),
    )
    const [stored] = await realm.asOwner(sql`select password_hash from freehold.passwords where user_id = ${who.id}`)
    expect(JSON.stringify(answer.body)).not.toContain(stored?.password_hash)
    expect(JSON.stringify(answer.body)).not.toMatch(/_hash"|_encrypted"/)
  })

  it('has all that somebody did, however much it is', async () => {
    const who = await someone()
    await realm.asOwner(
      sql`select access.set_audit_actor(${who.id}, ${who.username}, '{}'::jsonb)`,
      sql`select access.record('WORK', 'x', 'x', n::text, null, null) from generate_series(1, 2500) n`,
    )
    const { body } = await ask(who.token, '/auth/me/export')
    const worked = body.activities.filter(({ activity_type }: any) => activity_type === 'WORK')
    expect(new Set(worked.map(({ resource_id }: any) => resource_id)).size).toBe(2500)
    expect(worked.length).toBe(2500)
  })

  it('has what somebody did to others without what those are called, also after they are no administrator any more', async () => {
    const who = await someone(['admin'])
    const body = { email: 'made-by-them@people.test', username: 'made-by-them', given_name: 'Hildegard', phone: '+49 30 901820' }
    const made = await ask(who.token, '/users', { body, headers: { 'CF-Connecting-IP': '203.0.113.9' } })
    expect(made.status, JSON.stringify(made.body)).toBe(201)
    await ask(who.token, `/users/${made.body.id}`, { method: 'PATCH', body: { family_name: 'Bingen' } })
    await realm.asOwner(sql`update freehold.user_roles set ends_at = now() where user_id = ${who.id}`)
    await realm.asOwner(sql`update freehold.users set role = 'user' where id = ${who.id}`)
    await ask(who.token, '/auth/me', { method: 'PATCH', body: { description: 'their own words' } })
    await ask(who.token, '/api-keys', { body: { name: 'their own key', permissions: ['user:read'] } })
    const { body: all } = await ask(who.token, '/auth/me/export')
    const said = JSON.stringify(all)
    for (const word of ['made-by-them', 'Hildegard', '901820', 'Bingen']) expect(said).not.toContain(word)
    const did = all.activities.filter(({ resource_id }: { resource_id: string }) => resource_id === made.body.id)
    expect(did.length).toBeGreaterThan(1)
    expect(did[0]).toMatchObject({ resource_type: 'user', before: null, after: null, path: null, address: '203.0.113.9' })
    const own = JSON.stringify(all.activities)
    for (const word of ['their own words', 'their own key']) expect(own).toContain(word)
  })

  it('as a zip has a CSV file for each list, and no formula', async () => {
    const who = await someone()
    await ask(who.token, '/auth/me', { method: 'PATCH', body: { description: '=HYPERLINK("http://evil.test")' } })
    const files = await unzip(await bytesOf(who.token))
    expect(Object.keys(files)).toEqual(expect.arrayContaining(['user.csv', 'sessions.csv', 'mails.csv', 'activities.csv']))
    expect(files['user.csv']).toContain(who.email)
    expect(files['user.csv']).toContain(`"'=HYPERLINK(""http://evil.test"")"`)
    expect(files['activities.csv']).toContain('PROFILE_UPDATE')
  })

  it('is given ten times an hour, also of twenty at once', async () => {
    const who = await someone()
    const all = await Promise.all(Array.from({ length: 20 }, () => ask(who.token, '/auth/me/export')))
    expect(all.map(({ status }) => status).sort()).toEqual([...Array(10).fill(200), ...Array(10).fill(429)])
    expectProblem(all.find(({ status }) => status === 429) as Answer, 429, 'rate_limited')
  })

  it('is not for an API key, for nobody, nor for a session of another tenant', async () => {
    const key = (await ask(admin, '/api-keys', { body: { name: 'k', permissions: ['user:read'] } })).body.key
    expectProblem(await ask(key, '/auth/me/export'), 403, 'forbidden')
    expectProblem(await ask(undefined, '/auth/me/export'), 401, 'token_missing')
    expectProblem(await ask(await tokenOf(`${AT}-other`), '/auth/me/export'), 401, 'token_wrong_tenant')
    expectProblem(await ask(admin, '/auth/me/export?format=pdf'), 400, 'invalid_request')
  })
})

describe('a request to be erased', () => {
  it('waits seven days, is told by mail, and is shown', async () => {
    const who = await someone()
    const { status, body, trips } = await erase(who, { reason: 'I leave' })
    expect(status, JSON.stringify(body)).toBe(202)
    expect(trips).toBe(1)
    expect(body).toMatchObject({ user_id: who.id, requested_by: null, reason: 'I leave' })
    expect(Date.parse(body.erase_at) - Date.parse(body.requested_at)).toBe(7 * 86_400_000)
    expect((await ask(who.token, '/auth/me/erase')).body).toEqual(body)
    // Meanwhile everything goes on, also when the job runs.
    await eraseDue((await databaseOf(AT)).owner_url, AT, 'e'.repeat(32))
    expect((await ask(who.token, '/auth/me')).body.email).toBe(who.email)
  })

  it('is one of twenty at once, and asked again it is 409', async () => {
    const who = await someone()
    const all = await Promise.all(Array.from({ length: 20 }, () => erase(who)))
    expect(all.map(({ status }) => status).sort()).toEqual([202, ...Array(19).fill(409)])
    expectProblem(await erase(who), 409, 'illegal_state')
  })

  it('is cancelled by its owner, who can ask again then', async () => {
    const who = await someone()
    expectProblem(await ask(who.token, '/auth/me/erase', { method: 'DELETE' }), 404, 'not_found')
    await erase(who)
    expect((await ask(who.token, '/auth/me/erase', { method: 'DELETE' })).status).toBe(204)
    expectProblem(await ask(who.token, '/auth/me/erase'), 404, 'not_found')
    expect((await erase(who)).status).toBe(202)
  })

  it('is cancelled by the token of its mail, once, without a login', async () => {
    const who = await someone()
    await erase(who)
    const [token] = await linksTo(who.email)
    const cancel = (sent: unknown, at = AT) => call(at, '/api/v1/auth/me/erase/cancel', { body: { token: sent } })
    expectProblem(await cancel(token, `${AT}-other`), 400, 'invalid_request')
    const all = await Promise.all(Array.from({ length: 20 }, () => cancel(token)))
    expect(all.map(({ status }) => status).sort()).toEqual([204, ...Array(19).fill(400)])
    expectProblem(await ask(who.token, '/auth/me/erase'), 404, 'not_found')
  })

  it('asks for a fresh session, and is not for an API key', async () => {
    const who = await someone()
    await realm.asOwner(sql`update freehold.sessions set created_at = now() - interval '1 hour' where id = ${who.session_id}`)
    expectProblem(await erase(who), 401, 'step_up_required')
    const key = (await ask(admin, '/api-keys', { body: { name: 'k2', permissions: ['user:read'] } })).body.key
    expectProblem(await ask(key, '/auth/me/erase', { body: {} }), 403, 'forbidden')
  })

  it('of the last administrator is refused', async () => {
    expectProblem(await ask(admin, '/auth/me/erase', { body: {} }), 409, 'illegal_state')
  })

  it('of somebody who became the last administrator meanwhile is put off for a day', async () => {
    const first = await inside(AT)
    const second = await someone(['admin'])
    expect((await erase(second)).status).toBe(202)
    // bo, the other one, goes without a trigger that asks.
    const pass = (is_active: boolean) =>
      first.asOwner(
        sql`alter table freehold.users disable trigger user`,
        sql`update freehold.users set is_active = ${is_active} where username = 'bo'`,
        sql`alter table freehold.users enable trigger user`,
        sql`update freehold.erasures set erase_at = now() - interval '1 second' where user_id = ${second.id} and ${!is_active}`,
      )
    await pass(false)
    await eraseDue((await databaseOf(AT)).owner_url, AT, 'e'.repeat(32))
    await pass(true)
    const [row] = await realm.asOwner(
      sql`select e.erase_at > now() + interval '23 hours' as is_later, e.erased_at, u.email from freehold.erasures e join freehold.users u on u.id = e.user_id where e.user_id = ${second.id}`,
    )
    expect(row).toEqual({ is_later: true, erased_at: null, email: second.email })
    await ask(second.token, '/auth/me/erase', { method: 'DELETE' })
  })
})

describe('an administrator', () => {
  it('has somebody erased at once, with a reason that stays', async () => {
    const who = await someone()
    const { status, body } = await order(admin, who.id, { reason: 'asked by letter', now: true })
    expect(status, JSON.stringify(body)).toBe(202)
    expect(body.requested_by).not.toBeNull()
    await eraseDue((await databaseOf(AT)).owner_url, AT, 'e'.repeat(32))
    expect((await ask(admin, `/users/${who.id}`)).body).toMatchObject({ given_name: 'Former user', is_active: false })
    const [entry] = await realm.asOwner(
      sql`select d.after from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id where l.resource_id = ${who.id} and l.activity_type = 'USER_ERASED'`,
    )
    expect(entry?.after).toMatchObject({ requested_by: body.requested_by, reason: 'asked by letter' })
    expectProblem(await order(admin, who.id), 409, 'illegal_state')
  })

  it('hastens what the person asked for, once, and answers for it; the person is told', async () => {
    const who = await someone()
    const own = await erase(who, { reason: 'mine' })
    expectProblem(await order(admin, who.id), 409, 'illegal_state')
    const hastened = await order(admin, who.id, { reason: 'by letter', now: true })
    expect([hastened.status, hastened.body.id, hastened.body.reason]).toEqual([202, own.body.id, 'by letter'])
    expect(hastened.body.requested_by).not.toBeNull()
    expect(Date.parse(hastened.body.erase_at)).toBeLessThanOrEqual(Date.now() + 1000)
    expectProblem(await order(admin, who.id, { reason: 'again', now: true }), 409, 'illegal_state')
    expectProblem(await ask(who.token, '/auth/me/erase', { method: 'DELETE' }), 403, 'forbidden')
    const kinds = await realm.asOwner(sql`select kind from freehold.mails where user_id = ${who.id} order by created_at, kind`)
    expect(kinds.map(({ kind }) => kind).sort()).toEqual(['erasure_by_admin', 'erasure_requested'])
    const said = await realm.asOwner(
      sql`select d.after ->> 'reason' as reason from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id
        where l.resource_id = ${who.id} and l.activity_type = 'ERASURE_REQUESTED' order by l.at`,
    )
    expect(said.map(({ reason }) => reason)).toEqual(['mine', 'by letter'])
    expect((await ask(admin, `/users/${who.id}/erase`, { method: 'DELETE' })).status).toBe(204)
  })

  it('of twenty who hasten it at once one does', async () => {
    const who = await someone()
    await erase(who)
    const all = await Promise.all(Array.from({ length: 20 }, () => order(admin, who.id, { reason: 'by letter', now: true })))
    expect(all.filter(({ status }) => status === 202)).toHaveLength(1)
    expect((await ask(admin, `/users/${who.id}/erase`, { method: 'DELETE' })).status).toBe(204)
  })

  it('takes it back, which the person cannot; and what the person asked for', async () => {
    const who = await someone()
    expect((await order(admin, who.id)).status).toBe(202)
    expectProblem(await order(admin, who.id), 409, 'illegal_state')
    expectProblem(await ask(who.token, '/auth/me/erase', { method: 'DELETE' }), 403, 'forbidden')
    expect((await ask(admin, `/users/${who.id}/erase`, { method: 'DELETE' })).status).toBe(204)
    await erase(who)
    expect((await ask(admin, `/users/${who.id}/erase`, { method: 'DELETE' })).status).toBe(204)
    expectProblem(await ask(admin, `/users/${who.id}/erase`, { method: 'DELETE' }), 404, 'not_found')
    expectProblem(await ask(who.token, '/auth/me/erase'), 404, 'not_found')
  })

  it('erases neither themselves by this route, nor who may do more, nor nobody', async () => {
    const bo = (await ask(admin, '/users/me')).body.id
    expectProblem(await order(admin, bo), 403, 'forbidden')
    await addRole(realm, 'erases', ['user:read', 'user:delete'], 'all')
    const small = await someone(['erases'])
    expectProblem(await order(small.token, bo), 403, 'forbidden')
    expectProblem(await order(admin, crypto.randomUUID()), 404, 'not_found')
    expectProblem(await order((await someone()).token, small.id), 403, 'forbidden')
  })

  it('gives a reason', async () => {
    const who = await someone()
    const answer = await order(admin, who.id, { now: true })
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual(['#/reason'])
  })
})

it('a checksum is that of everybody else', () => {
  expect(crc32(new TextEncoder().encode('123456789'))).toBe(0xcbf43926)
})

async function bytesOf(token: string): Promise<Uint8Array> {
  const { exports } = (await import('cloudflare:workers')) as any
  const answer = await exports.default.fetch(`http://${AT}.freehold.test/api/v1/auth/me/export?format=zip`, {
    headers: { Authorization: `Bearer ${token}` },
  })
  expect(answer.headers.get('Content-Type')).toBe('application/zip')
  return new Uint8Array(await answer.arrayBuffer())
}

/** Reads a zip by its directory, as programs do, and holds every checksum and size. */
async function unzip(zip: Uint8Array): Promise<Record<string, string>> {
  const view = new DataView(zip.buffer)
  const end = zip.length - 22
  expect(view.getUint32(end, true)).toBe(0x06054b50)
  const files: Record<string, string> = {}
  let at = view.getUint32(end + 16, true)
  for (let n = view.getUint16(end + 10, true); n > 0; n--) {
    expect(view.getUint32(at, true)).toBe(0x02014b50)
    const [sum, packed, size, named, begins] = [16, 20, 24]
      .map((o) => view.getUint32(at + o, true))
      .concat(view.getUint16(at + 28, true), view.getUint32(at + 42, true)) as [number, number, number, number, number]
    const name = new TextDecoder().decode(zip.subarray(at + 46, at + 46 + named))
    const data = zip.slice(begins + 30 + named, begins + 30 + named + packed)
    const text = new Uint8Array(
      await new Response(new Blob([data]).stream().pipeThrough(new DecompressionStream('deflate-raw'))).arrayBuffer(),
    )
    expect([text.length, crc32(text)], name).toEqual([size, sum])
    files[name] = new TextDecoder().decode(text)
    at += 46 + named
  }
  return files
}
