/** Employees: what is kept of them, who reads what of it, and what their end takes along. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Inside, inside } from '../support/inside.ts'
import { call } from '../support/people.ts'
import { expectProblem, pointers } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { addMember, addRole, addUnit } from '../users/cast.ts'

const AT = 'staffed'
let realm: Inside
let token: string
const id: Record<string, string> = {}
const who: Record<string, Awaited<ReturnType<typeof addMember>>> = {}

/** Lab > Water; Sales. `clerk` keeps the records of the Lab, `nurse` reads what is sensitive there, `mia` and `noa` are in Water. */
beforeAll(async () => {
  await copyTenant(AT)
  await copyTenant('staffed-next')
  realm = await inside(AT)
  token = await tokenOf(AT)
  id.Lab = await addUnit(realm, 'department', 'Lab')
  id.Water = await addUnit(realm, 'team', 'Water', id.Lab)
  id.Sales = await addUnit(realm, 'department', 'Sales')
  await addRole(realm, 'clerk', ['employee:read', 'employee:create', 'employee:update', 'user:read'], 'department')
  await addRole(realm, 'nurse', ['employee:read', 'employee:read_sensitive'], 'department')
  await addRole(realm, 'worker', ['employee:read', 'employee:read_sensitive', 'api_key:create'], 'own')
  for (const role of ['clerk', 'nurse']) who[role] = await addMember(realm, role, { roles: [role], unit_id: id.Water ?? null })
  for (const name of ['mia', 'noa', 'pim'])
    who[name] = await addMember(realm, name, { roles: ['worker'], unit_id: id.Water ?? null })
})

let number = 40_000_000
const employee = (more: object = {}) => ({
  document_type: 'dni',
  document_number: String(++number),
  given_names: 'Lucía',
  family_name: 'Ñahui Rojas',
  birth_date: '1990-04-30',
  address: 'Jr. Puno 12',
  emergency_contact: 'Rosa',
  emergency_phone: '+51911122233',
  position: 'Analyst',
  employed_since: '2020-02-01',
  unit_id: id.Water,
  ...more,
})
const at = (path: string, ask: object = {}, as = token) => call(AT, `/api/v1/employees${path}`, { token: as, ...ask })
const post = (body: object, as = token) => at('', { body }, as)
const patch = (one: string, body: object, as = token, headers = {}) => at(`/${one}`, { method: 'PATCH', body, headers }, as)
const terminate = (one: string, body: object = { reason: 'contract ended' }, as = token) => at(`/${one}/terminate`, { body }, as)
const reinstate = (one: string, as = token) => at(`/${one}/reinstate`, { method: 'POST' }, as)
const addKey = (user: string, prefix: string) =>
  realm.asOwner(
    sql`insert into freehold.api_keys (id, user_id, name, prefix, key_hash, permissions)
      values (gen_random_uuid(), ${user}, 'theirs', ${prefix}, sha256(${prefix}::bytea), '{employee:read}')`,
  )
const openKeys = async (user: string) =>
  (await realm.asOwner(sql`select from freehold.api_keys where user_id = ${user} and revoked_at is null`)).length
/** When the account of a user ends; null: never. */
const endOf = async (user: string): Promise<Date | null> => {
  const [row] = await realm.asOwner(sql`select terminated_at from freehold.users where id = ${user}`)
  return row?.terminated_at ? new Date(row.terminated_at) : null
}
const isActive = async (user: string) =>
  (await realm.asOwner(sql`select is_active from freehold.users where id = ${user}`))[0]?.is_active

describe('an employee', () => {
  it('is made, read, changed and found, in one round trip each', async () => {
    const made = await post(employee({ family_name: 'Quispe', status: 'inactive', nationality: 'PE', sex: 'female' }))
    expect([made.status, made.trips]).toEqual([201, 1])
    expect(made.body).toMatchObject({
      document_number: String(number),
      birth_date: '1990-04-30',
      status: 'inactive',
      user_id: null,
      is_masked: false,
      terminated_at: null,
    })
    expect(made.headers.get('Location')).toBe(`/api/v1/employees/${made.body.id}`)
    const read = await at(`/${made.body.id}`)
    expect([read.status, read.body, read.trips]).toEqual([200, made.body, 1])
    const headers = { 'If-Match': read.headers.get('ETag') ?? '' }
    const changed = await patch(made.body.id, { position: 'Head', status: 'active', address: null }, token, headers)
    expect(changed.body).toMatchObject({ position: 'Head', status: 'active', address: null, family_name: 'Quispe' })
    expectProblem(await patch(made.body.id, { position: 'X' }, token, headers), 412, 'etag_mismatch')
    const found = await at('?search=QUISPE%20l&status=active')
    expect([found.body.data.map((one: any) => one.id), found.trips]).toEqual([[made.body.id], 1])
    expect((await at('?search=quispe&status=terminated')).body.data).toEqual([])
  })

  it('is one for each document, in whatever letters, and one for each account; of twenty at once one is made', async () => {
    const one = employee({ document_type: 'Passport', document_number: 'ab123' })
    const answers = await Promise.all(Array.from({ length: 20 }, () => post(one)))
    expect(answers.map(({ status }) => status).sort()).toEqual([201, ...Array(19).fill(409)])
    const again = await post(employee({ document_type: 'passport', document_number: 'AB123' }))
    expectProblem(again, 409, 'already_exists')
    expect(pointers(again)).toEqual(['#/document_number'])
    expect((await post(employee({ user_id: who.pim?.id }))).status).toBe(201)
    expect(pointers(await post(employee({ user_id: who.pim?.id })))).toEqual(['#/user_id'])
  })

  it.each<[string, object, string]>([
    ['without a document', { document_number: undefined }, '#/document_number'],
    ['with a number of 65 characters', { document_number: '1'.repeat(65) }, '#/document_number'],
    ['born tomorrow', { birth_date: new Date(Date.now() + 172_800_000).toISOString().slice(0, 10) }, '#/birth_date'],
    ['born on the 30th of February', { birth_date: '1990-02-30' }, '#/birth_date'],
    ['of no country', { nationality: 'Peru' }, '#/nationality'],
    ['in a unit of nobody', { unit_id: crypto.randomUUID() }, '#/unit_id'],
    ['with the account of nobody', { user_id: crypto.randomUUID() }, '#/user_id'],
    ['terminated by a field', { terminated_at: '2026-01-01T00:00:00Z' }, '#/terminated_at'],
    ['with a status that is decided', { status: 'terminated' }, '#/status'],
  ])('%s is refused', async (_, more, pointer) => {
    const answer = await post(employee(more))
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual([pointer])
  })

  it('of another tenant is not found behind any door', async () => {
    const elsewhere = await call('staffed-next', '/api/v1/employees', {
      token: await tokenOf('staffed-next'),
      body: employee({ unit_id: null }),
    })
    expect(elsewhere.status).toBe(201)
    const other = elsewhere.body.id
    for (const answer of [await at(`/${other}`), await patch(other, {}), await terminate(other), await reinstate(other)])
      expectProblem(answer, 404, 'not_found')
  })
})

describe('what is sensitive', () => {
  const hidden = { birth_date: null, address: null, emergency_contact: null, emergency_phone: null, is_masked: true }

  it('is read with employee:read_sensitive alone, in its scope, and is masked otherwise, in lists as well', async () => {
    const lab = (await post(employee({ document_number: '70809010' }))).body
    const sales = (await post(employee({ unit_id: id.Sales ?? null }))).body
    const seen = await at(`/${lab.id}`, {}, who.clerk?.token)
    expect(seen.body).toMatchObject({ ...hidden, document_number: '******10', given_names: 'Lucía' })
    const listed = (await at('?limit=100', {}, who.clerk?.token)).body.data
    expect(listed.length).toBeGreaterThan(0)
    expect(listed.every((one: any) => one.is_masked && /^\*+\d{0,2}$/.test(one.document_number.replace(/[a-z]/gi, '')))).toBe(
      true,
    )
    expect((await at(`/${lab.id}`, {}, who.nurse?.token)).body).toEqual(lab)
    expectProblem(await at(`/${sales.id}`, {}, who.nurse?.token), 404, 'not_found')
  })

  it('is in no column that the app login reads, and in no entry of the audit', async () => {
    const columns = await realm.asOwner(
      sql`select a.attname from pg_attribute a where a.attrelid = 'freehold.employees'::regclass and a.attnum > 0
        and not has_column_privilege('freehold_app', a.attrelid, a.attnum, 'select') order by 1`,
    )
    // Two are of the account, for reinstating.
    expect(columns.map(({ attname }) => attname)).toEqual([
      'account_was_to_end_at',
      'address',
      'birth_date',
      'district',
      'document_number',
      'emergency_contact',
      'emergency_phone',
      'ends_account',
    ])
    await post(employee({ address: 'Av. Secreta 99' }))
    const found = await realm.asOwner(sql`select from freehold.audit_detail d where to_jsonb(d)::text like '%Av. Secreta%'`)
    expect(found).toEqual([])
  })

  it('somebody reads of themselves, and changes nothing of it', async () => {
    const made = (await post(employee({ user_id: who.noa?.id }))).body
    expect((await at(`/${made.id}`, {}, who.noa?.token)).body).toEqual(made)
    expectProblem(await patch(made.id, { position: 'Director' }, who.noa?.token), 403, 'forbidden')
    await addRole(realm, 'own-records', ['employee:update'], 'own')
    const vain = await addMember(realm, 'vain', { roles: ['worker', 'own-records'], unit_id: id.Water ?? null })
    const own = (await post(employee({ user_id: vain.id }))).body
    expectProblem(await patch(own.id, { position: 'Director' }, vain.token), 403, 'forbidden')
    expectProblem(await terminate(own.id, { reason: 'x' }, vain.token), 403, 'forbidden')
  })
})

describe('a scope', () => {
  it('of a department makes and changes employees there, and moves none out or in', async () => {
    const clerk = who.clerk?.token
    const made = await post(employee(), clerk)
    expect(made.status).toBe(201)
    expectProblem(await post(employee({ unit_id: id.Sales ?? null }), clerk), 403, 'forbidden')
    expectProblem(await post(employee({ unit_id: null }), clerk), 403, 'forbidden')
    expectProblem(await patch(made.body.id, { unit_id: id.Sales }, clerk), 403, 'forbidden')
    const sales = (await post(employee({ unit_id: id.Sales ?? null }))).body
    expectProblem(await patch(sales.id, { unit_id: id.Water ?? null }, clerk), 404, 'not_found')
    expectProblem(await terminate(sales.id, undefined, clerk), 404, 'not_found')
  })

  it('that does not reach an account links it to nobody', async () => {
    const far = await addMember(realm, 'far', { roles: ['worker'], unit_id: id.Sales ?? null })
    expect(pointers(await post(employee({ user_id: far.id }), who.clerk?.token))).toEqual(['#/user_id'])
  })
})

describe('the end of an employment', () => {
  it('deactivates the account at once, ends its sessions, keys and delegations, and can be undone', async () => {
    const leaver = await addMember(realm, 'leaver', { roles: ['worker'], unit_id: id.Water ?? null })
    const made = (await post(employee({ user_id: leaver.id }))).body
    await realm.asOwner(
      sql`insert into freehold.delegations (id, delegator_id, delegate_id, role_id, starts_at, ends_at)
        select gen_random_uuid(), ${leaver.id}::uuid, ${who.mia?.id}::uuid, r.id, now(), now() + interval '1 day'
        from freehold.roles r where r.name = 'worker'`,
    )
    await addKey(leaver.id, 'leaving1')
    expect(await openKeys(leaver.id)).toBe(1)
    const ended = await terminate(made.id)
    expect([ended.status, ended.trips]).toEqual([200, 1])
    expect(ended.body).toMatchObject({ status: 'terminated', termination_reason: 'contract ended' })
    expect(await isActive(leaver.id)).toBe(false)
    expectProblem(await call(AT, '/api/v1/auth/me', { token: leaver.token }), 403, 'user_inactive')
    const open = await realm.asOwner(
      sql`select from freehold.delegations where delegator_id = ${leaver.id} and revoked_at is null`,
    )
    expect(open).toEqual([])
    expect(await openKeys(leaver.id)).toBe(0)
    expectProblem(await terminate(made.id), 409, 'illegal_state')
    const back = await reinstate(made.id)
    expect(await openKeys(leaver.id)).toBe(0)
    expect([back.status, back.body.status, back.body.terminated_at]).toEqual([200, 'active', null])
    expect(await isActive(leaver.id)).toBe(true)
    expectProblem(await reinstate(made.id), 409, 'illegal_state')
  })

  it('at a date to come lets the account go on until then, and no longer', async () => {
    const leaver = await addMember(realm, 'soon', { roles: ['worker'], unit_id: id.Water ?? null })
    const made = (await post(employee({ user_id: leaver.id }))).body
    const soon = new Date(Date.now() + 86_400_000).toISOString()
    expect((await terminate(made.id, { reason: 'retires', at: soon })).body).toMatchObject({ status: 'active' })
    expect((await call(AT, '/api/v1/auth/me', { token: leaver.token })).status).toBe(200)
    expect((await endOf(leaver.id))?.toISOString()).toBe(soon)
    await addKey(leaver.id, 'leaving2')
    // The day comes, and then the scheduled job.
    const yesterday = sql`now() - interval '1 day'`
    await realm.asOwner(
      sql`update freehold.employees set terminated_at = ${yesterday} where id = ${made.id}`,
      sql`alter table freehold.users disable trigger user`,
      sql`update freehold.users set terminated_at = ${yesterday} where id = ${leaver.id}`,
      sql`alter table freehold.users enable trigger user`,
    )
    expect((await at(`/${made.id}`)).body.status).toBe('terminated')
    expectProblem(await call(AT, '/api/v1/auth/me', { token: leaver.token }), 403, 'user_inactive')
    await realm.asOwner(sql`select access.deactivate_terminated(100)`)
    expect([await isActive(leaver.id), await openKeys(leaver.id)]).toEqual([false, 0])
  })

  it('at a date to come can be undone, and the account has no end any more', async () => {
    const stays = await addMember(realm, 'stays', { roles: ['worker'], unit_id: id.Water ?? null })
    const made = (await post(employee({ user_id: stays.id }))).body
    await terminate(made.id, { reason: 'retires', at: new Date(Date.now() + 86_400_000).toISOString() })
    expect(await endOf(stays.id)).not.toBeNull()
    expect((await reinstate(made.id)).status).toBe(200)
    expect(await endOf(stays.id)).toBeNull()
  })

  it('before it began is refused, and of twenty at once one counts', async () => {
    const made = (await post(employee())).body
    expect(pointers(await terminate(made.id, { reason: 'x', at: '2019-01-01T00:00:00Z' }))).toEqual(['#/at'])
    const answers = await Promise.all(Array.from({ length: 20 }, () => terminate(made.id)))
    expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array(19).fill(409)])
  })

  it('needs the power over others that the account holds, both ways', async () => {
    await addRole(realm, 'boss', ['user:update', 'role:update'], 'all')
    const boss = await addMember(realm, 'boss', { roles: ['boss'], unit_id: id.Water ?? null })
    const made = (await post(employee({ user_id: boss.id }))).body
    expectProblem(await terminate(made.id, undefined, who.clerk?.token), 403, 'forbidden')
    expect(await isActive(boss.id)).toBe(true)
    // Also where the account ends before, so that nothing of it would change.
    const days = (n: number) => new Date(Date.now() + n * 86_400_000).toISOString()
    await realm.asOwner(sql`update freehold.users set terminated_at = ${days(1)}::timestamptz where id = ${boss.id}`)
    expectProblem(await terminate(made.id, { reason: 'x', at: days(2) }, who.clerk?.token), 403, 'forbidden')
    expect((await terminate(made.id)).status).toBe(200)
    expectProblem(await reinstate(made.id, who.clerk?.token), 403, 'forbidden')
    expect(await isActive(boss.id)).toBe(false)
  })

  it('leaves the last administrator, and nobody ends their own', async () => {
    const [admin] = await realm.asOwner(
      sql`select id from freehold.users where email = 'bo@acme.test' or role = 'admin' order by created_at limit 1`,
    )
    const made = (await post(employee({ user_id: admin?.id }))).body
    expectProblem(await terminate(made.id), 409, 'illegal_state')
    expect(await isActive(admin?.id)).toBe(true)
  })
})

describe('reports', () => {
  it('count who was employed, by unit, position, role and status, also at a past moment', async () => {
    await copyTenant('head-counted')
    const admin = await tokenOf('head-counted')
    const ask = (path: string, more: object = {}) => call('head-counted', `/api/v1/employees${path}`, { token: admin, ...more })
    const add = async (position: string | null, employed_since: string, terminated?: string) => {
      const { body } = await ask('', { body: employee({ position, employed_since, unit_id: null }) })
      if (terminated) await ask(`/${body.id}/terminate`, { body: { reason: 'left', at: terminated } })
    }
    await add('=Analyst', '2020-01-01')
    await add('=Analyst', '2021-01-01', '2022-06-30T12:00:00Z')
    await add('Driver', '2022-01-01')
    const report = await ask('/report?by=position')
    expect([report.trips, report.body.data]).toEqual([
      1,
      [
        { key: '=Analyst', name: '=Analyst', employees: 1 },
        { key: 'Driver', name: 'Driver', employees: 1 },
      ],
    ])
    expect((await ask('/report?by=position&at=2021-06-01T00:00:00Z')).body.data).toEqual([
      { key: '=Analyst', name: '=Analyst', employees: 2 },
    ])
    expect((await ask('/report?by=status')).body.data.map((one: any) => [one.key, one.employees])).toEqual([
      ['active', 2],
      ['terminated', 1],
    ])
    for (const by of ['unit', 'role'])
      expect((await ask(`/report?by=${by}`)).body.data).toEqual([{ key: null, name: null, employees: 2 }])
    const csv = await ask('/report?by=position&format=csv')
    expect([csv.headers.get('Content-Type'), csv.body]).toEqual([
      'text/csv; charset=utf-8; header=present',
      "key,name,employees\r\n'=Analyst,'=Analyst,1\r\nDriver,Driver,1\r\n",
    ])
    const over = await ask('/headcount?from=2019-12-31&to=2022-12-31&step=year')
    expect([over.trips, over.body.data.map((one: any) => one.employees)]).toEqual([1, [0, 1, 2, 2]])
    expect((await ask('/headcount?from=2022-06-29&to=2022-06-30&step=day&format=csv')).body).toBe(
      'date,employees\r\n2022-06-29,3\r\n2022-06-30,2\r\n',
    )
    expectProblem(await ask('/headcount?from=2022-01-02&to=2022-01-01'), 400, 'invalid_request')
    expectProblem(await ask('/headcount?from=1000-01-01&to=2022-01-01&step=day'), 400, 'invalid_request')
  })
})
