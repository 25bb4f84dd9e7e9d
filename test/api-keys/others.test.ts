/** Whose keys are seen and revoked, by whom; what is recorded; and what whoever runs SQL as the app login makes of it. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { checkpointAudit, verifyAudit } from '../../src/tenants/maintenance/checkpoints.ts'
import type { Member } from '../roles/cast.ts'
import { type Database, databaseOf, refusalOf, settings } from '../support/databases.ts'
import { expectProblem } from '../support/refusal.ts'
import { admit, type Credential, credentialOf, FACTS } from '../support/sessions.ts'
import { type KeyCast, keyCast, type Made } from './cast.ts'

let here: KeyCast
let near: Member
let far: Member
let lead: Member
let keys: Record<'near' | 'far' | 'lead', Made>

beforeAll(async () => {
  here = await keyCast('others')
  const [team, other] = [await here.unit('here'), await here.unit('there')]
  const can = { 'unit:read': 'own' }
  near = await here.member('near', { can, unit: team })
  far = await here.member('far', { can, unit: other })
  lead = await here.member('lead', { can: { ...can, 'api_key:read': 'team', 'api_key:delete': 'team' }, unit: team })
  keys = {
    near: await here.made(['unit:read'], {}, near.token),
    far: await here.made(['unit:read'], {}, far.token),
    lead: await here.made(['api_key:read', 'api_key:delete'], {}, lead.token),
  }
})

const keysOf = (id: string, token = lead.token) => here.ask(`/users/${id}/api-keys`, { token })
const revoke = (id: string, key_id: string, token = lead.token) =>
  here.ask(`/users/${id}/api-keys/${key_id}`, { token, method: 'DELETE' })

describe('the keys of others', () => {
  it('are seen by who reaches them with api_key:read, without their secrets; with a key that names it, too', async () => {
    for (const token of [lead.token, keys.lead.key, here.bo.token]) {
      const { status, body, trips } = await keysOf(near.id, token)
      expect([status, trips]).toEqual([200, 1])
      const { key, ...shown } = keys.near
      expect(body).toEqual({ data: [shown], next_cursor: null })
    }
    expect((await keysOf(far.id, here.bo.token)).body.data).toHaveLength(1)
    for (const answer of [await keysOf(far.id), await keysOf(far.id, keys.lead.key), await keysOf(crypto.randomUUID())])
      expectProblem(answer, 404, 'not_found')
    for (const token of [near.token, keys.near.key]) expectProblem(await keysOf(near.id, token), 403, 'forbidden')
  })

  it('are revoked by who reaches them with api_key:delete, and by nobody else', async () => {
    const spare = await here.made(['unit:read'], {}, near.token)
    expectProblem(await revoke(near.id, spare.id, near.token), 403, 'forbidden')
    expectProblem(await revoke(near.id, spare.id, far.token), 403, 'forbidden')
    for (const [id, key_id] of [
      [far.id, keys.far.id],
      [near.id, keys.far.id],
      [far.id, spare.id],
      [crypto.randomUUID(), spare.id],
      [near.id, crypto.randomUUID()],
    ] as const)
      expectProblem(await revoke(id, key_id), 404, 'not_found')
    expect((await here.by(spare, '/units')).status).toBe(200)
    expect((await revoke(near.id, spare.id)).status).toBe(204)
    expectProblem(await here.by(spare, '/units'), 401, 'token_invalid')
    expectProblem(await revoke(near.id, spare.id), 404, 'not_found')
    expect((await here.by(keys.far, '/units')).status).toBe(200)
  })
})

describe('the audit', () => {
  const entries = (id: string) =>
    here.realm.asOwner(sql`select l.activity_type, l.action, l.user_id, d.before, d.after from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id
      where l.resource_type = 'api_key' and l.resource_id = ${id} order by l.at, l.xid`)

  it('names the making, the change, the rotation and the end of a key, and never its hash; of uses it says nothing', async () => {
    const { id, key } = await here.made(['unit:read'], {}, near.token)
    await here.by(key, '/units')
    await here.ask(`/api-keys/${id}`, { token: near.token, body: { name: 'renamed' }, method: 'PATCH' })
    const next = (await here.ask(`/api-keys/${id}/rotate`, { token: near.token, body: {} })).body
    await expect
      .poll(async () => (await here.realm.asOwner(sql`select use_count from freehold.api_keys where id = ${id}`))[0]?.use_count)
      .toBe('1')
    await revoke(near.id, id)
    const told = await entries(id)
    expect(told.map(({ activity_type, user_id }) => [activity_type, user_id])).toEqual([
      ['API_KEY_CREATED', near.id],
      ['API_KEY_UPDATED', near.id],
      ['API_KEY_UPDATED', near.id],
      ['API_KEY_REVOKED', lead.id],
    ])
    expect(told[0]?.after).toMatchObject({ key_hash: '***', permissions: ['unit:read'] })
    expect(told[1]).toMatchObject({ before: { name: 'robot' }, after: { name: 'renamed' } })
    expect(Object.keys(told[2]?.after)).toEqual(['expires_at'])
    const [made] = await entries(next.id)
    expect(made).toMatchObject({ activity_type: 'API_KEY_CREATED', after: { rotated_from: id, key_hash: '***' } })
    const hash = sql`encode(sha256(convert_to(${key}, 'UTF8')), 'hex')`
    const [leak] = await here.realm.asOwner(
      sql`select count(*)::integer as n from freehold.audit_detail d where position(${hash} in to_jsonb(d)::text) > 0 or position(${key.slice(12)} in to_jsonb(d)::text) > 0`,
    )
    expect(leak?.n).toBe(0)
  })

  it('says with which key something was done, and is searched by it', async () => {
    const { id, key } = await here.made(['unit:create'])
    const made = (await here.by(key, '/units', { body: { kind: 'team', name: 'made-by-key', parent_id: null } })).body
    const { status, trips, body } = await here.ask(`/activities?api_key_id=${id}`)
    expect([status, trips]).toEqual([200, 1])
    expect(body.data).toMatchObject([{ activity_type: 'UNIT_CREATED', resource_id: made.id, api_key_id: id }])
    const byHand = (await here.ask('/activities?resource_type=api_key')).body.data
    expect(byHand.every(({ api_key_id }: { api_key_id: string | null }) => api_key_id === null)).toBe(true)
    expectProblem(await here.ask('/activities?api_key_id=7'), 400, 'invalid_request')
    await checkpointAudit(settings(), 'others')
    expect(await verifyAudit(settings(), 'others')).toMatchObject({ intact: true, faults: [] })
  })
})

describe('whoever runs SQL as the app login', () => {
  let database: Database
  let session: Credential
  beforeAll(async () => {
    database = await databaseOf('others')
    session = await credentialOf('others', 'near')
  })

  const hash = (key: string) => sql`encode(sha256(convert_to(${key}, 'UTF8')), 'hex')`
  /** Admitted with a key, as its holder may be. */
  const byKey = (key: string, permission: string | null = null) =>
    sql`select * from access.admit(${database.id}, jsonb_build_object('key', ${hash(key)}), ${permission}, ${JSON.stringify(FACTS)}::jsonb)`
  const insert = (user_id: string, more = sql``) =>
    sql`insert into freehold.api_keys (id, user_id, name, prefix, key_hash, permissions ${more.queryChunks.length > 1 ? sql`, rotated_from` : sql``})
      values (gen_random_uuid(), ${user_id}, 'x', left(gen_random_uuid()::text, 8), sha256(uuid_send(gen_random_uuid())), '{unit:read}' ${more})`

  it('sees no key without an admission, and own ones with it; never a hash', async () => {
    const all = sql`select user_id from freehold.api_keys`
    expect(await database.asApp(all)).toEqual([])
    const seen = await database.asApp(admit(database, session, null), all)
    expect(new Set(seen.map(({ user_id }) => user_id))).toEqual(new Set([near.id]))
    for (const statement of [
      sql`select key_hash from freehold.api_keys`,
      sql`select * from freehold.api_keys`,
      sql`select k from freehold.api_keys k`,
    ])
      for (const first of [[], [admit(database, session, null)], [byKey(keys.near.key)]])
        expect(await refusalOf(database.app_url, ...first, statement)).toMatch(/^42501 /)
    expect(
      await refusalOf(
        database.app_url,
        admit(database, session, null),
        sql`insert into freehold.api_keys as k (id) values (gen_random_uuid()) returning k.key_hash`,
      ),
    ).toMatch(/^42501 /)
  })

  it('makes a key for nobody but who was admitted, and none with a key', async () => {
    expect(await refusalOf(database.app_url, insert(near.id))).toMatch(/^42501 /)
    expect(await refusalOf(database.app_url, admit(database, session, null), insert(here.bo.id))).toMatch(/^(42501|FH403) /)
    expect(await refusalOf(database.app_url, byKey(keys.near.key), insert(near.id))).toMatch(/^42501 /)
    expect(
      await refusalOf(database.app_url, admit(database, session, null), insert(near.id, sql`, ${keys.far.id}::uuid`)),
    ).toMatch(/^FH404 /)
    expect(await refusalOf(database.app_url, admit(database, session, null), insert(near.id))).toBe('none')
  })

  it.each([
    'update freehold.api_keys set use_count = 1',
    'update freehold.api_keys set last_used_at = now()',
    "update freehold.api_keys set key_hash = sha256('x')",
    'update freehold.api_keys set user_id = gen_random_uuid()',
    'delete from freehold.api_keys',
    'truncate freehold.api_keys',
    'select * from access.key_counters',
    'insert into access.key_counters (writer, batch) values (gen_random_uuid(), 1)',
    "select access.user_effective_scope(gen_random_uuid(), 'user:read')",
    'select access.user_grants(gen_random_uuid(), now())',
    "select access.authenticate_key(repeat('0', 64), '{}')",
    'select access.key_permissions(gen_random_uuid())',
    "select access.network_of('10.0.0.1')",
  ])('may not %s', async (statement) => {
    expect(await refusalOf(database.app_url, admit(database, session, null), sql.raw(statement))).toMatch(/^42501 /)
  })

  it('brings back nothing that was revoked, and changes nothing with a key or of somebody else', async () => {
    const { id } = await here.made(['unit:read'], {}, near.token)
    await here.ask(`/api-keys/${id}`, { token: near.token, method: 'DELETE' })
    const back = sql`update freehold.api_keys set revoked_at = null where id = ${id}`
    expect(await refusalOf(database.app_url, admit(database, session, null), back)).toMatch(/^FH404 /)
    const change = (which: string) =>
      sql`update freehold.api_keys set permissions = '{unit:read,unit:create}' where id = ${which} returning 1 as one`
    expect(await database.asApp(byKey(keys.near.key), change(keys.near.id))).toEqual([])
    expect(await database.asApp(admit(database, session, null), change(keys.far.id))).toEqual([])
    const leading = await credentialOf('others', 'lead')
    expect(await refusalOf(database.app_url, admit(database, leading, 'api_key:delete'), change(keys.near.id))).toMatch(/^FH403 /)
  })

  it('counts nothing without the system’s key', async () => {
    const counts = JSON.stringify([{ prefix: keys.near.prefix, uses: 1_000, last_used_at: '2020-01-01T00:00:00Z' }])
    for (const secret of ['', 'guess', null, here.realm.id])
      for (const first of [[], [admit(database, session, null)], [byKey(keys.near.key)]])
        expect(
          await refusalOf(
            database.app_url,
            ...first,
            sql`select access.count_key_uses(${database.id}, ${secret}, gen_random_uuid(), 1, ${counts}::jsonb)`,
          ),
        ).toMatch(/^FH403 /)
  })

  it('is not let in by a hash that is none, nor by two credentials at once', async () => {
    const admitted = (credential: object) =>
      refusalOf(
        database.app_url,
        sql`select * from access.admit(${database.id}, ${JSON.stringify(credential)}::jsonb, null, '{}'::jsonb)`,
      )
    for (const key of ['', '00', '0'.repeat(64), null, keys.near.key.slice(12)]) expect(await admitted({ key })).not.toBe('none')
    expect(await admitted({ ...session, proof: database.proof(session), key: '0'.repeat(64) })).toMatch(/^FH40[1G] /)
  })
})
