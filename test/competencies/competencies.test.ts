/** Competencies: their types, what is recorded of whom, and who verifies it. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Inside, inside } from '../support/inside.ts'
import { call } from '../support/people.ts'
import { expectProblem, pointers } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { addMember, addRole, addUnit } from '../users/cast.ts'

const AT = 'skilled'
const DAY = 86_400_000
let realm: Inside
let token: string
const id: Record<string, string> = {}
const who: Record<string, Awaited<ReturnType<typeof addMember>>> = {}

/** Lab > Water, Air; Sales. `lead` verifies in Water, `head` in the Lab; `mia` is in Water, `ari` in Air, `sol` in Sales. */
beforeAll(async () => {
  await copyTenant(AT)
  await copyTenant('skilled-next')
  realm = await inside(AT)
  token = await tokenOf(AT)
  id.Lab = await addUnit(realm, 'department', 'Lab')
  id.Water = await addUnit(realm, 'team', 'Water', id.Lab)
  id.Air = await addUnit(realm, 'team', 'Air', id.Lab)
  id.Sales = await addUnit(realm, 'department', 'Sales')
  const all = ['competency:read', 'competency:create', 'competency:update', 'competency:delete']
  await addRole(realm, 'holder', all, 'own')
  await addRole(realm, 'lead', [...all, 'competency:verify'], 'team')
  await addRole(realm, 'head', [...all, 'competency:verify', 'competency:export'], 'department')
  await addRole(realm, 'reader', ['competency:read'], 'all')
  const add = async (name: string, roles: string[], unit: string | undefined) => {
    who[name] = await addMember(realm, name, { roles, unit_id: unit ?? null })
  }
  for (const name of ['mia', 'noa']) await add(name, ['holder'], id.Water)
  await add('ari', ['holder'], id.Air)
  await add('sol', ['holder'], id.Sales)
  await add('lea', ['lead'], id.Water)
  await add('hed', ['head'], id.Lab)
  await add('rea', ['reader', 'lead'], id.Water)
  id.Sampling = (await type({ name: 'Sampling' })).body.id
  id.Forklift = (await type({ name: 'Forklift', kind: 'equipment', valid_months: 24 })).body.id
})

const at = (path: string, ask: object = {}, as = token) => call(AT, `/api/v1/competencies${path}`, { token: as, ...ask })
const types = (path: string, ask: object = {}, as = token) => call(AT, `/api/v1/competency-types${path}`, { token: as, ...ask })
const type = (body: object, as = token) => types('', { body: { kind: 'test_method', ...body } }, as)
const record = (more: object = {}, as = token) =>
  at('', { body: { user_id: who.mia?.id, type_id: id.Sampling, level: 3, issued_at: '2026-01-15', ...more } }, as)
const patch = (one: string, body: object, as = token, headers = {}) => at(`/${one}`, { method: 'PATCH', body, headers }, as)
const remove = (one: string, as = token) => at(`/${one}`, { method: 'DELETE' }, as)
const verify = (one: string, as = token, headers = {}) => at(`/${one}/verify`, { method: 'POST', headers }, as)
const revoke = (one: string, as = token, reason = 'forged') => at(`/${one}/revoke`, { body: { reason } }, as)
const tokenFor = (name: string) => who[name]?.token ?? ''
const idsOf = (answer: any) => answer.body.data.map((one: any) => one.id)
/** Moves the dates of a record, as if time had passed. */
const age = (one: string, set: ReturnType<typeof sql>) =>
  realm.asOwner(
    sql`alter table freehold.competencies disable trigger user`,
    sql`update freehold.competencies set ${set} where id = ${one}`,
    sql`alter table freehold.competencies enable trigger user`,
  )

describe('a type', () => {
  it('is made, read, changed, found and retired, in one round trip each, and its name is free again', async () => {
    const made = await type({ name: 'Titration', kind: 'training', valid_months: 12, description: 'By hand' })
    expect([made.status, made.trips]).toEqual([201, 1])
    expect(made.body).toMatchObject({ name: 'Titration', kind: 'training', valid_months: 12, retired_at: null })
    const read = await types(`/${made.body.id}`, {}, tokenFor('mia'))
    expect([read.status, read.body, read.trips]).toEqual([200, made.body, 1])
    const change = (body: object, headers = {}) => types(`/${made.body.id}`, { method: 'PATCH', body, headers })
    const headers = { 'If-Match': read.headers.get('ETag') ?? '' }
    const changed = await change({ valid_months: null }, headers)
    expect([changed.body.valid_months, changed.trips]).toEqual([null, 1])
    expectProblem(await change({ name: 'X' }, headers), 412, 'etag_mismatch')
    const found = await types('?search=TITR&kind=training')
    expect([idsOf(found), found.trips]).toEqual([[made.body.id], 1])
    expectProblem(await type({ name: 'titration' }), 409, 'already_exists')
    const retired = await types(`/${made.body.id}`, { method: 'DELETE' })
    expect([retired.status, retired.trips]).toEqual([204, 1])
    expect(idsOf(await types('?search=titr'))).toEqual([])
    expect(idsOf(await types('?search=titr&state=retired'))).toEqual([made.body.id])
    expectProblem(await change({ name: 'Y' }), 409, 'illegal_state')
    expectProblem(await types(`/${made.body.id}`, { method: 'DELETE' }), 409, 'illegal_state')
    expect((await type({ name: 'TITRATION' })).status).toBe(201)
  })

  it('is written at scope all alone', async () => {
    const as = tokenFor('hed')
    expectProblem(await type({ name: 'Mine' }, as), 403, 'forbidden')
    expectProblem(await types(`/${id.Sampling}`, { method: 'PATCH', body: { name: 'Mine' } }, as), 403, 'forbidden')
    expectProblem(await types(`/${id.Sampling}`, { method: 'DELETE' }, tokenFor('mia')), 403, 'forbidden')
  })

  it('is not retired while a role demands it, and afterwards is recorded and verified no more', async () => {
    const one = (await type({ name: 'Distilling' })).body.id
    const open = (await record({ type_id: one })).body.id
    await addRole(realm, 'distiller', ['document:approve'], 'all')
    const demanding = sql`update freehold.role_permissions rp set competency_type_id = ${one}, competency_level = 2
      from freehold.roles r where r.id = rp.role_id and r.name = 'distiller'`
    await realm.asOwner(demanding)
    expectProblem(await types(`/${one}`, { method: 'DELETE' }), 409, 'in_use')
    await realm.asOwner(
      sql`update freehold.role_permissions set ends_at = greatest(now(), starts_at) where competency_type_id = ${one}`,
    )
    expect((await types(`/${one}`, { method: 'DELETE' })).status).toBe(204)
    expect(pointers(await record({ type_id: one }))).toEqual(['#/type_id'])
    expectProblem(await verify(open), 409, 'illegal_state')
  })

  it.each<[string, object, string]>([
    ['of no kind', { kind: 'hobby' }, '#/kind'],
    ['without a name', { name: ' ' }, '#/name'],
    ['valid for no month', { valid_months: 0 }, '#/valid_months'],
    ['valid for 101 years', { valid_months: 1212 }, '#/valid_months'],
    ['retired by a field', { retired_at: null }, '#/retired_at'],
  ])('%s is refused', async (_, more, pointer) => {
    const answer = await type({ name: 'Refused', ...more })
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual([pointer])
  })
})

describe('a record', () => {
  it('is made, read, changed, verified and revoked, in one round trip each', async () => {
    const made = await record({ evidence_url: 'https://files.test/c?n=1' })
    expect([made.status, made.trips, made.headers.get('Location')]).toEqual([201, 1, `/api/v1/competencies/${made.body.id}`])
    expect(made.body).toMatchObject({
      state: 'unverified',
      type_name: 'Sampling',
      issued_at: '2026-01-15T00:00:00.000000Z',
      expires_at: null,
      verified_by: null,
    })
    const changed = await patch(made.body.id, { level: 4, expires_at: '2030-01-15T00:00:00-05:00' })
    expect([changed.body.level, changed.body.expires_at, changed.trips]).toEqual([4, '2030-01-15T05:00:00.000000Z', 1])
    const verified = await verify(made.body.id, tokenFor('lea'))
    expect([verified.status, verified.trips]).toEqual([200, 1])
    expect(verified.body).toMatchObject({ state: 'valid', verified_by: who.lea?.id })
    expect((await at(`/${made.body.id}`)).body).toEqual(verified.body)
    const revoked = await revoke(made.body.id, tokenFor('hed'))
    expect([revoked.status, revoked.trips]).toEqual([200, 1])
    expect(revoked.body).toMatchObject({ state: 'revoked', revoked_by: who.hed?.id, revocation_reason: 'forged' })
    expectProblem(await revoke(made.body.id), 409, 'illegal_state')
    expectProblem(await verify(made.body.id), 409, 'illegal_state')
  })

  it('without an end has the one of its type', async () => {
    const made = await record({ type_id: id.Forklift, issued_at: '2025-08-31' })
    expect(made.body.expires_at).toBe('2027-08-31T00:00:00.000000Z')
    const own = await record({ type_id: id.Forklift, issued_at: '2025-08-31', expires_at: '2026-12-24' })
    expect(own.body.expires_at).toBe('2026-12-24T00:00:00.000000Z')
    expect((await patch(own.body.id, { expires_at: null })).body.expires_at).toBe('2027-08-31T00:00:00.000000Z')
  })

  it.each<[string, object, string]>([
    ['of level 0', { level: 0 }, '#/level'],
    ['of level 6', { level: 6 }, '#/level'],
    ['that expires before it was issued', { expires_at: '2026-01-14' }, '#/expires_at'],
    ['issued tomorrow', { issued_at: new Date(Date.now() + DAY).toISOString() }, '#/issued_at'],
    ['issued on the 30th of February', { issued_at: '2026-02-30' }, '#/issued_at'],
    ['of an unknown type', { type_id: crypto.randomUUID() }, '#/type_id'],
    ['of nobody', { user_id: crypto.randomUUID() }, '#/user_id'],
    ['with evidence on http', { evidence_url: 'http://files.test/c' }, '#/evidence_url'],
    ['with evidence that is a script', { evidence_url: 'javascript:alert(1)' }, '#/evidence_url'],
    ['with evidence of 2,049 characters', { evidence_url: `https://files.test/${'a'.repeat(2030)}` }, '#/evidence_url'],
    ['verified by a field', { verified_at: '2026-01-15T00:00:00Z' }, '#/verified_at'],
  ])('%s is refused', async (_, more, pointer) => {
    const answer = await record(more)
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual([pointer])
  })

  it('that counted is not changed and not deleted; one that did not is deleted', async () => {
    const made = (await record()).body.id
    expect((await verify(made, tokenFor('lea'))).status).toBe(200)
    for (const body of [{ level: 5 }, { evidence_url: null }, {}])
      expectProblem(await patch(made, body, tokenFor('mia')), 409, 'illegal_state')
    expectProblem(await remove(made, tokenFor('mia')), 409, 'illegal_state')
    const open = (await record({}, tokenFor('mia'))).body.id
    const removed = await remove(open, tokenFor('mia'))
    expect([removed.status, removed.trips]).toEqual([204, 1])
    expectProblem(await remove(open), 404, 'not_found')
  })

  it('is changed as it was seen, and verified as it was seen', async () => {
    const made = await record({}, tokenFor('mia'))
    const headers = { 'If-Match': made.headers.get('ETag') ?? '' }
    // The holder raises the level after the verifier looked.
    expect((await patch(made.body.id, { level: 5 }, tokenFor('mia'), headers)).status).toBe(200)
    expectProblem(await patch(made.body.id, { level: 4 }, tokenFor('mia'), headers), 412, 'etag_mismatch')
    expectProblem(await verify(made.body.id, tokenFor('lea'), headers), 412, 'etag_mismatch')
    const { headers: now } = await at(`/${made.body.id}`)
    expect((await verify(made.body.id, tokenFor('lea'), { 'If-Match': now.get('ETag') ?? '' })).status).toBe(200)
  })

  it('of another tenant is not found behind any door', async () => {
    const other = await tokenOf('skilled-next')
    const ask = (path: string, body: object) => call('skilled-next', `/api/v1/${path}`, { token: other, body })
    const kind = (await ask('competency-types', { name: 'Sampling', kind: 'training' })).body.id
    const me = (await call('skilled-next', '/api/v1/users/me', { token: other })).body.id
    const made = (await ask('competencies', { user_id: me, type_id: kind, level: 1, issued_at: '2026-01-15' })).body.id
    const doors = [
      await at(`/${made}`),
      await patch(made, {}),
      await remove(made),
      await verify(made),
      await revoke(made),
      await types(`/${kind}`),
      await types(`/${kind}`, { method: 'PATCH', body: {} }),
      await types(`/${kind}`, { method: 'DELETE' }),
    ]
    for (const answer of doors) expectProblem(answer, 404, 'not_found')
    expect(pointers(await record({ type_id: kind }))).toEqual(['#/type_id'])
    expect(pointers(await record({ user_id: me }))).toEqual(['#/user_id'])
  })
})

describe('verifying', () => {
  it('is for another user: whoever holds a competency verifies and revokes it not, whatever they may', async () => {
    const own = await record({ user_id: who.hed?.id }, tokenFor('hed'))
    expect(own.status).toBe(201)
    expectProblem(await verify(own.body.id, tokenFor('hed')), 403, 'forbidden')
    expectProblem(await revoke(own.body.id, tokenFor('hed')), 403, 'forbidden')
    const admin = (await call(AT, '/api/v1/users/me', { token })).body.id
    expectProblem(await verify((await record({ user_id: admin })).body.id), 403, 'forbidden')
    expectProblem(await verify((await record()).body.id, tokenFor('mia')), 403, 'forbidden')
  })

  it('is not for whoever has the power from the holder alone', async () => {
    const own = (await record({ user_id: who.hed?.id }, tokenFor('hed'))).body.id
    await realm.asOwner(
      sql`insert into freehold.delegations (id, delegator_id, delegate_id, role_id, starts_at, ends_at, decision, decided_at)
        select gen_random_uuid(), ${who.hed?.id}::uuid, ${who.sol?.id}::uuid, r.id, now(), now() + interval '1 day', 'approved', now()
        from freehold.roles r where r.name = 'head'`,
    )
    const refused = await verify(own, tokenFor('sol'))
    expectProblem(refused, 403, 'forbidden')
    expect(refused.body.detail).toContain('from the holder')
    // Of others they may, as the delegator would.
    expect((await verify((await record()).body.id, tokenFor('sol'))).status).toBe(200)
  })

  it('is not for the holder who acts as somebody else', async () => {
    const everything = ['read', 'create', 'update', 'delete', 'verify'].map((verb) => `competency:${verb}`)
    await addRole(realm, 'acts-as', ['user:read', 'user:impersonate', ...everything], 'all')
    const holder = await addMember(realm, 'disguised', { roles: ['acts-as'], unit_id: id.Water ?? null })
    const begun = await call(AT, `/api/v1/users/${who.lea?.id}/impersonate`, {
      token: holder.token,
      body: { reason: 'Ticket 4711: nothing is verified' },
    })
    expect(begun.status, JSON.stringify(begun.body)).toBe(200)
    const own = (await record({ user_id: holder.id })).body.id
    for (const refused of [await verify(own, begun.body.access_token), await revoke(own, begun.body.access_token)]) {
      expectProblem(refused, 403, 'forbidden')
      expect(refused.body.detail).toContain('Another user must judge')
    }
    // Of others they may, and so may she whom they act as.
    expect((await verify((await record()).body.id, begun.body.access_token)).status).toBe(200)
    expect((await verify(own, tokenFor('lea'))).status).toBe(200)
  })

  it('is refused once it expired, and of twenty at once one counts', async () => {
    const made = (await record({ expires_at: new Date(Date.now() + DAY).toISOString() })).body.id
    await age(made, sql`expires_at = now()`)
    expectProblem(await verify(made), 409, 'illegal_state')
    expect((await at(`/${made}`)).body.state).toBe('expired')
    const open = (await record()).body.id
    const answers = await Promise.all(Array.from({ length: 20 }, () => verify(open, tokenFor('lea'))))
    expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array(19).fill(409)])
  })

  it('is in the audit, with who, before and after, and without the address of the evidence', async () => {
    const made = (await record({ evidence_url: 'https://files.test/secret' })).body.id
    await patch(made, { level: 2 })
    await verify(made, tokenFor('lea'))
    await revoke(made, tokenFor('lea'))
    const found = await call(AT, `/api/v1/activities?resource_type=competency&resource_id=${made}`, { token })
    expect(found.body.data.map((one: any) => one.activity_type).reverse()).toEqual([
      'COMPETENCY_CREATED',
      'COMPETENCY_UPDATED',
      'COMPETENCY_VERIFIED',
      'COMPETENCY_REVOKED',
    ])
    const [revoked, verified, updated] = found.body.data
    expect([updated.before, updated.after]).toMatchObject([{ level: 3 }, { level: 2 }])
    expect([verified.user_id, verified.before.verified_by, verified.after.verified_by]).toEqual([who.lea?.id, null, who.lea?.id])
    expect(revoked.after).toMatchObject({ revocation_reason: 'forged' })
    expect(JSON.stringify(found.body)).not.toContain('files.test')
  })
})

describe('a scope', () => {
  it('own: somebody records, changes and reads what is theirs, and nothing of others', async () => {
    const mia = tokenFor('mia')
    expect((await record({}, mia)).status).toBe(201)
    expect(pointers(await record({ user_id: who.noa?.id }, mia))).toEqual(['#/user_id'])
    const other = (await record({ user_id: who.noa?.id })).body.id
    for (const answer of [await at(`/${other}`, {}, mia), await patch(other, {}, mia), await remove(other, mia)])
      expectProblem(answer, 404, 'not_found')
    const listed = (await at('?limit=100', {}, mia)).body.data
    expect(new Set(listed.map((one: any) => one.user_id))).toEqual(new Set([who.mia?.id]))
  })

  it('team, department and all reach no further, and what can only be read is forbidden', async () => {
    const [noa, ari, sol] = await Promise.all(
      ['noa', 'ari', 'sol'].map(async (name) => (await record({ user_id: who[name]?.id })).body.id),
    )
    const seen = async (name: string) => {
      const found = new Set(idsOf(await at(`?limit=100&type_id=${id.Sampling}`, {}, tokenFor(name))))
      return [noa, ari, sol].map((one) => found.has(one))
    }
    expect(await seen('lea')).toEqual([true, false, false])
    expect(await seen('hed')).toEqual([true, true, false])
    expect(await seen('rea')).toEqual([true, true, true])
    expectProblem(await verify(ari, tokenFor('lea')), 404, 'not_found')
    expectProblem(await verify(sol, tokenFor('hed')), 404, 'not_found')
    for (const answer of [
      await verify(ari, tokenFor('rea')),
      await revoke(ari, tokenFor('rea')),
      await patch(ari, { level: 1 }, tokenFor('rea')),
      await remove(ari, tokenFor('rea')),
    ])
      expectProblem(answer, 403, 'forbidden')
    expect((await verify(ari, tokenFor('hed'))).status).toBe(200)
  })
})

describe('a list', () => {
  it('is filtered by user, type, state and end, and paged by either order, in one round trip', async () => {
    const pim = await addMember(realm, 'pim', { roles: ['holder'], unit_id: id.Water ?? null })
    const add = async (more: object) => (await record({ user_id: pim.id, ...more })).body.id
    const soon = await add({ expires_at: new Date(Date.now() + 10 * DAY).toISOString() })
    const late = await add({ expires_at: new Date(Date.now() + 90 * DAY).toISOString(), type_id: id.Forklift })
    const never = await add({})
    await verify(soon)
    const ask = async (query: string) => idsOf(await at(`?user_id=${pim.id}&${query}`))
    expect(await ask('')).toEqual([never, late, soon])
    expect(await ask('sort=created_at&state=unverified')).toEqual([late, never])
    expect(await ask('sort=expires_at')).toEqual([soon, late])
    expect(await ask(`type_id=${id.Forklift}`)).toEqual([late])
    expect(await ask('state=valid')).toEqual([soon])
    expect(await ask(`expires_before=${new Date(Date.now() + 30 * DAY).toISOString().slice(0, 10)}`)).toEqual([soon])
    for (const sort of ['-created_at', 'expires_at']) {
      const first = await at(`?user_id=${pim.id}&limit=1&sort=${sort}`)
      const next = await at(`?user_id=${pim.id}&limit=1&sort=${sort}&cursor=${first.body.next_cursor}`)
      expect([first.trips, next.trips]).toEqual([1, 1])
      expect([...idsOf(first), ...idsOf(next)]).toEqual((await ask(`sort=${sort}`)).slice(0, 2))
    }
    expectProblem(await at('?state=lost'), 400, 'invalid_request')
  })
})
