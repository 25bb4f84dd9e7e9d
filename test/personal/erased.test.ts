/**
 * Threat: somebody who was erased is still somewhere: in a table that was forgotten, in what was written while they were erased, or in the
 * audit. So somebody with a name, addresses, a number and an agent that nobody else has does everything that leaves a trace, and then
 * every column of every table is searched.
 */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, inject, it } from 'vitest'
import { parseSettings } from '../../src/kernel/config.ts'
import { checkpointAudit, verifyAudit } from '../../src/tenants/maintenance/checkpoints.ts'
import { eraseDue } from '../../src/tenants/maintenance/erasures.ts'
import { post, switchOn } from '../factors/cast.ts'
import { databaseOf, maintainLater } from '../support/databases.ts'
import { addPerson, type Inside, inside, type Person } from '../support/inside.ts'
import { mailsTo } from '../support/mails.ts'
import { call } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

const AT = 'erased-people'
const AGENT = 'Zaragozza-Browser/7.7'
const ADDRESS = '198.51.100.77'
const HEADERS = { 'User-Agent': AGENT, 'CF-Connecting-IP': ADDRESS }
const TRACES = ['zaragozza', 'quetzalina', 'wigglesworth', '555 0177', '5550177', '198.51.100.77', 'lieblingsfarbe']
let realm: Inside
let admin: string

beforeAll(async () => {
  await copyTenant(AT)
  realm = await inside(AT)
  await maintainLater(realm.id)
  admin = await tokenOf(AT)
})

const as = (token: string, path: string, ask: { method?: string; body?: unknown; headers?: Record<string, string> } = {}) =>
  call(AT, `/api/v1${path}`, { token, ...ask, headers: { ...HEADERS, ...ask.headers } })
const byAdmin = (path: string, ask: object = {}) => call(AT, `/api/v1${path}`, { token: admin, ...ask })
const runJob = async () => expect(await eraseDue((await databaseOf(AT)).owner_url, AT, 'e'.repeat(32))).toBe(true)
/** The days of the request are over. */
const passes = (id: string) =>
  realm.asOwner(sql`update freehold.erasures set erase_at = now() - interval '1 second' where user_id = ${id}`)

/** The places of the database where a text stands: `table.column`. */
async function placesOf(text: string): Promise<string[]> {
  const columns = (await realm.asOwner(
    sql`select format('%s', c.oid::regclass) as relation, a.attname as name
      from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
      where c.relkind = 'r' and c.relnamespace::regnamespace::text in ('freehold', 'access')`,
  )) as { relation: string; name: string }[]
  const searches = columns.map(
    ({ relation, name }) =>
      `select '${relation}.${name}' as place from ${relation} where strpos(lower("${name}"::text), '${text}') > 0`,
  )
  const found = await realm.asOwner(sql.raw(`select distinct place from (${searches.join(' union all ')}) x order by place`))
  return found.map(({ place }) => place as string)
}

/** Somebody who has left a trace everywhere. */
async function livedHere(): Promise<Person & { token: string }> {
  const made = await byAdmin('/users', {
    body: {
      email: 'quetzalina@zaragozza.test',
      username: 'quetzalina',
      given_name: 'Quetzalina',
      family_name: 'Wigglesworth',
      phone: '+1 555 0177',
      description: 'Lieblingsfarbe: blue',
      preferences: { motto: 'Lieblingsfarbe' },
      password: 'Violet-Anchor-38',
    },
    headers: { 'Idempotency-Key': 'the-one-who-is-erased' },
  })
  expect(made.status, JSON.stringify(made.body)).toBe(201)
  const { id } = made.body
  await realm.asOwner(sql`update freehold.users set email_verified = true, phone_verified = true where id = ${id}`)
  const person = { id, username: 'quetzalina', email: made.body.email, password: 'Violet-Anchor-38' }
  await post(AT, 'login', { username: 'quetzalina', password: 'wrong-Password-1' }, undefined, HEADERS)
  await post(AT, 'login', { username: 'quetzalina@zaragozza.test', password: 'wrong-Password-2' }, undefined, HEADERS)
  await post(AT, 'login', { username: 'quetzalina-wigglesworth', password: 'wrong-Password-2' }, undefined, HEADERS)
  const entered = await post(AT, 'login', { username: 'quetzalina', password: person.password }, undefined, HEADERS)
  const changed = await post(
    AT,
    'password-change',
    { current_password: person.password, new_password: 'Indigo-Harbor-91' },
    entered.body.access_token,
    HEADERS,
  )
  expect(changed.status, JSON.stringify(changed.body)).toBe(204)
  const { body } = await post(AT, 'login', { username: 'quetzalina', password: 'Indigo-Harbor-91' }, undefined, HEADERS)
  const token = body.access_token as string
  await post(AT, 'password-reset', { email: person.email }, undefined, HEADERS)
  await post(AT, 'phone-verification', undefined, token, HEADERS)
  await post(AT, 'email-change', { new_email: 'other@zaragozza.test', current_password: 'Indigo-Harbor-91' }, token, HEADERS)
  await as(token, '/auth/me', { method: 'PATCH', body: { description: 'Lieblingsfarbe: green' } })
  await as(token, '/api-keys', { body: { name: 'Quetzalina laptop', permissions: ['user:read'] } })
  const bo = (await byAdmin('/users/me')).body.id
  const ends_at = new Date(Date.now() + 86_400_000).toISOString()
  const starts_at = new Date().toISOString()
  await as(token, '/delegations', {
    body: { delegate_id: bo, permissions: ['user:read'], starts_at, ends_at, reason: 'for quetzalina@zaragozza.test' },
  })
  await switchOn(AT, token)
  await as(token, '/users/me')
  // What an administrator does to them, and what a stranger tries in their name.
  await byAdmin(`/users/${id}`, { method: 'PATCH', body: { designation: 'Head of Lieblingsfarbe' } })
  await byAdmin(`/users/${id}/roles`)
  await as('not.a.token', '/users')
  return { ...person, token }
}

describe('somebody who is erased', () => {
  it('was everywhere, and is nowhere', async () => {
    const who = await livedHere()
    for (const trace of TRACES) if (trace !== '5550177') expect((await placesOf(trace)).length, trace).toBeGreaterThan(0)
    const before = (await realm.asOwner(sql`select count(*)::integer as n from freehold.audit_log`))[0]?.n
    const asked = await as(who.token, '/auth/me/erase', { body: { reason: 'quetzalina@zaragozza.test leaves' } })
    expect(asked.status, JSON.stringify(asked.body)).toBe(202)
    expect(asked.trips).toBe(1)
    await mailsTo(who.email, 1)
    await passes(who.id)
    await runJob()
    for (const trace of TRACES) expect(await placesOf(trace), trace).toEqual([])
    // The audit is whole: no entry is gone, and the chain and the hashes of all details hold.
    const after = (await realm.asOwner(sql`select count(*)::integer as n from freehold.audit_log`))[0]?.n
    expect(after).toBeGreaterThan(before)
    const config = parseSettings(inject('settings'))
    await checkpointAudit(config, AT)
    expect(await verifyAudit(config, AT)).toMatchObject({ faults: [] })
    const [done] = await realm.asOwner(
      sql`select d.after from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id where l.activity_type = 'USER_ERASED' and l.resource_id = ${who.id}`,
    )
    expect(done?.after).toMatchObject({ erasure_id: asked.body.id, requested_by: null, reason: null })
    // That they acted stays.
    const [acted] = await realm.asOwner(sql`select count(*)::integer as n from freehold.audit_log where user_id = ${who.id}`)
    expect(acted?.n).toBeGreaterThan(5)
    const shown = await byAdmin(`/users/${who.id}`)
    expect(shown.body).toMatchObject({ given_name: 'Former user', family_name: null, phone: null, is_active: false, roles: [] })
    expect(shown.body.erased_at).toMatch(/Z$/)
    expectProblem(await as(who.token, '/auth/me'), 401, 'session_ended')
    // Nobody is changed any more, and what they were called is free.
    expectProblem(await byAdmin(`/users/${who.id}/reactivate`, { method: 'POST' }), 409, 'illegal_state')
    expectProblem(await byAdmin(`/users/${who.id}/erase`, { body: { reason: 'again' } }), 409, 'illegal_state')
    const again = await byAdmin('/users', { body: { email: 'quetzalina@zaragozza.test', username: 'quetzalina' } })
    expect(again.status, JSON.stringify(again.body)).toBe(201)
  })

  it('takes nothing along of others, whatever they were called, and whatever number they gave', async () => {
    const { body: role } = await byAdmin('/roles', { body: { name: 'kept-role', permissions: [] } })
    const eve = await addPerson(realm, 'eve-the-eraser')
    const ivo = await addPerson(realm, 'ivo-who-stays')
    await realm.asOwner(sql`update freehold.users set phone = '+51 987 654 321' where id = ${ivo.id}`)
    const token = await tokenOf(realm, eve.username)
    // The API takes no address for a number; a row of before may have one, and it may even be verified.
    expectProblem(await as(token, '/auth/me', { method: 'PATCH', body: { phone: '127.0.0.1' } }), 400, 'invalid_request')
    for (const phone of ['+51 987 654 321', '+1 555 0100'])
      expect((await as(token, '/auth/me', { method: 'PATCH', body: { phone } })).status).toBe(200)
    await realm.asOwner(
      sql`update freehold.users set phone = '127.0.0.1', phone_verified = true, username = ${role.id}, email_verified = false where id = ${eve.id}`,
    )
    await realm.asOwner(sql`update freehold.users set phone_verified = true where id = ${eve.id}`)
    await byAdmin(`/roles/${role.id}`, { method: 'PATCH', body: { description: 'for the night' } })
    await byAdmin(`/users/${ivo.id}/roles`, { body: { role_id: role.id }, headers: { 'CF-Connecting-IP': '127.0.0.1' } })
    await realm.asOwner(
      sql`select access.record('DOCUMENTS_COUNTED', 'count', 'tenant', null, null, jsonb_build_object('note', ${`${eve.email} and 127.0.0.1`}::text, 'phone', '+1 555 0100'))`,
    )
    const others = async () =>
      (
        await realm.asOwner(
          sql`select d.log_id::text as id from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id
            where l.user_id is distinct from ${eve.id} and l.resource_id is distinct from ${eve.id} and l.resource_type <> 'session'
            and l.activity_type <> 'AUDIT_ERASED' order by 1`,
        )
      ).map(({ id }) => id)
    const before = await others()
    const ordered = await byAdmin(`/users/${eve.id}/erase`, { body: { reason: 'asked', now: true } })
    expect(ordered.status, JSON.stringify(ordered.body)).toBe(202)
    await runJob()
    expect((await others()).filter((id) => before.includes(id as string))).toEqual(before)
  })

  it('loses their verified address in what others say, and the key of somebody else keeps working without it', async () => {
    const gia = await addPerson(realm, 'gia-in-the-names')
    await realm.asOwner(
      sql`update freehold.users set email_verified = true, given_name = 'Gia', family_name = 'de la Roche' where id = ${gia.id}`,
    )
    const key = await byAdmin('/api-keys', { body: { name: `for ${gia.email}, daily`, permissions: ['user:read'] } })
    expect(key.status, JSON.stringify(key.body)).toBe(201)
    const reason = `GIA de la Roche (${gia.email}) asked by Gianni, de la casa`
    expect((await byAdmin(`/users/${gia.id}/erase`, { body: { reason, now: true } })).status).toBe(202)
    await runJob()
    const [row] = await realm.asOwner(
      sql`select name, revoked_at from freehold.api_keys where id = ${key.body.api_key?.id ?? key.body.id}`,
    )
    expect(row).toEqual({ name: 'for ***, daily', revoked_at: null })
    const said = await realm.asOwner(
      sql`select e.reason, d.after ->> 'reason' as audited from freehold.erasures e
        join freehold.audit_log l on l.resource_id = e.user_id::text and l.activity_type = 'USER_ERASED'
        join freehold.audit_detail d on d.log_id = l.id where e.user_id = ${gia.id}`,
    )
    expect(said).toEqual([
      { reason: '*** *** (***) asked by Gianni, de la casa', audited: '*** *** (***) asked by Gianni, de la casa' },
    ])
    expect(await placesOf(gia.email)).toEqual([])
  })
})
