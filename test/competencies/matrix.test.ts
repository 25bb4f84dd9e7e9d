/** The matrix of competencies: who has which, now and at a past moment, as JSON and as a file. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { databaseOf } from '../support/databases.ts'
import { type Inside, inside } from '../support/inside.ts'
import { call } from '../support/people.ts'
import { expectProblem, pointers } from '../support/refusal.ts'
import { admit, credentialOf, tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { addMember, addRole, addUnit } from '../users/cast.ts'
import { addRecord, addType } from './cast.ts'

const AT = 'skill-matrix'
let realm: Inside
let token: string
const unit: Record<string, string> = {}
const type: Record<string, string> = {}
const who: Record<string, Awaited<ReturnType<typeof addMember>>> = {}

/** `ana` and `ben` are in Water, `cam` in Air, both in the Lab. Who approves needs Weighing at level 3. */
beforeAll(async () => {
  await copyTenant(AT)
  realm = await inside(AT)
  token = await tokenOf(AT)
  unit.Lab = await addUnit(realm, 'department', 'Lab')
  unit.Water = await addUnit(realm, 'team', 'Water', unit.Lab)
  unit.Air = await addUnit(realm, 'team', 'Air', unit.Lab)
  await addRole(realm, 'lead', ['competency:read', 'competency:export'], 'team')
  await addRole(realm, 'single', ['competency:read', 'competency:export'], 'own')
  await addRole(realm, 'reader', ['competency:read'], 'all')
  await addRole(realm, 'approver', ['document:approve'], 'all')
  await addRole(realm, 'chief', [], 'all')
  const add = async (name: string, roles: string[], place = unit.Water) => {
    who[name] = await addMember(realm, name, { roles, unit_id: place ?? null })
  }
  await add('ana', ['lead', 'approver'])
  await add('ben', ['single', 'chief'])
  await add('cam', ['single'], unit.Air)
  type.Weighing = await addType(realm, 'Weighing')
  type.Formula = await addType(realm, '=1+1', 'training')
  type.Crane = await addType(realm, 'Crane', 'equipment')
  await realm.asOwner(
    sql`update freehold.role_permissions rp set competency_type_id = ${type.Weighing}, competency_level = 3
      from freehold.roles r where r.id = rp.role_id and r.name = 'approver'`,
    // chief inherits it.
    sql`update freehold.roles set parent_id = (select id from freehold.roles where name = 'approver') where name = 'chief'`,
  )
  const by = who.cam?.id ?? ''
  const of = (name: string) => who[name]?.id ?? ''
  const weighing = { user_id: of('ana'), type_id: type.Weighing, by }
  await addRecord(realm, { ...weighing, level: 2, issued: -800 })
  await addRecord(realm, { ...weighing, level: 4, issued: -400, expires: -30 })
  await addRecord(realm, { ...weighing, level: 5, issued: -20, verified: null })
  await addRecord(realm, { ...weighing, level: 5, issued: -500, revoked: -490 })
  await addRecord(realm, { user_id: of('ana'), type_id: type.Formula, by: of('cam'), verified: null })
  await addRecord(realm, { user_id: of('cam'), type_id: type.Weighing, by: of('ana'), expires: 100 })
  await addRecord(realm, { user_id: of('cam'), type_id: type.Crane, by: of('ana'), expires: -1 })
  await addRecord(realm, { user_id: of('ben'), type_id: type.Crane, by: of('ana'), revoked: -5 })
})

const matrix = (query = '', as = token) => call(AT, `/api/v1/competencies/matrix${query}`, { token: as })
const file = (query = '', as = token) => call(AT, `/api/v1/competencies/matrix/export${query}`, { token: as })
const cells = (answer: any, name: string) =>
  Object.fromEntries(
    answer.body.data
      .find((row: any) => row.username === name)
      .cells.map((cell: any) => [Object.keys(type).find((one) => type[one] === cell.type_id), cell]),
  )
const past = (days: number) => encodeURIComponent(new Date(Date.now() - days * 86_400_000).toISOString())
const listed = (answer: any): string[] => answer.body.data.map((row: any) => row.username)
const people = (answer: any) => listed(answer).sort()

describe('the matrix', () => {
  it('has for each person the highest level that counts, or why none does, and what roles demand', async () => {
    const answer = await matrix()
    expect([answer.status, answer.trips]).toEqual([200, 1])
    expect(answer.body.types.map((one: any) => one.name)).toEqual(['=1+1', 'Crane', 'Weighing'])
    expect(people(answer)).toEqual(expect.arrayContaining(['ana', 'ben', 'cam']))
    const ana = cells(answer, 'ana')
    expect(ana.Weighing).toMatchObject({ state: 'valid', level: 2, expires_at: null, required_level: 3, is_lacking: true })
    expect(ana.Formula).toMatchObject({ state: 'unverified', level: null, required_level: null, is_lacking: false })
    const ben = cells(answer, 'ben')
    expect(ben.Weighing).toMatchObject({ state: 'missing', level: null, required_level: 3, is_lacking: true })
    expect(ben.Crane).toMatchObject({ state: 'revoked', level: null })
    const cam = cells(answer, 'cam')
    expect(cam.Weighing).toMatchObject({ state: 'valid', level: 3, required_level: null, is_lacking: false })
    expect(cam.Crane.state).toBe('expired')
  })

  it('at a past moment has what counted then', async () => {
    await realm.asOwner(sql`update freehold.users set joined_at = now() - interval '3 years' where username in ('ana', 'ben')`)
    const then = await matrix(`?at=${past(60)}`)
    expect(people(then)).toEqual(['ana', 'ben'])
    expect(cells(then, 'ana').Weighing).toMatchObject({ state: 'valid', level: 4, required_level: null })
    expect(cells(await matrix(`?at=${past(495)}`), 'ana').Weighing).toMatchObject({ level: 5 })
    expect(cells(await matrix(`?at=${past(485)}`), 'ana').Weighing).toMatchObject({ level: 2 })
    expect(cells(then, 'ben').Crane).toMatchObject({ state: 'valid', level: 3 })
    expect(cells(await matrix(`?at=${past(900)}`), 'ana')).toEqual({})
  })

  it('says when a record ends to the microsecond, in the order of the types', async () => {
    const ends = ['2126-03-01 10:00:00.123456+00', '2126-03-01 10:00:00+00', '2126-03-01 10:00:00.12+02']
    const by = who.ana?.id ?? ''
    const eva = await addMember(realm, 'eva', { roles: ['single'], unit_id: unit.Water ?? null })
    for (const [n, name] of ['Weighing', 'Crane', 'Formula'].entries()) {
      const id = await addRecord(realm, { user_id: eva.id, type_id: type[name] ?? '', by, issued: -1 })
      await realm.asOwner(sql`update freehold.competencies set expires_at = ${ends[n]}::timestamptz where id = ${id}`)
    }
    const { cells: shown } = (await matrix()).body.data.find((row: any) => row.username === 'eva')
    expect(shown.map((cell: any) => [cell.type_id, cell.expires_at])).toEqual([
      [type.Formula, '2126-03-01T08:00:00.120000Z'],
      [type.Crane, '2126-03-01T10:00:00.000000Z'],
      [type.Weighing, '2126-03-01T10:00:00.123456Z'],
    ])
    await realm.asOwner(sql`update freehold.users set is_active = false where id = ${eva.id}`)
  })

  it('is of the people within the scope, and of a unit, some types or a kind', async () => {
    expect(people(await matrix('', who.ana?.token))).toEqual(['ana', 'ben'])
    expect(people(await matrix('', who.ben?.token))).toEqual(['ben'])
    expect(people(await matrix(`?unit_id=${unit.Air}`))).toEqual(['cam'])
    expect(people(await matrix(`?unit_id=${unit.Air}`, who.ana?.token))).toEqual([])
    const some = await matrix(`?type_id=${type.Crane},${type.Weighing}`)
    expect(some.body.types.map((one: any) => one.id)).toEqual([type.Crane, type.Weighing])
    expect(Object.keys(cells(some, 'ana'))).toEqual(['Weighing'])
    expect((await matrix('?kind=training')).body.types.map((one: any) => one.id)).toEqual([type.Formula])
    for (const query of ['?type_id=x', '?kind=hobby', '?at=2026-01-01', '?unit_id=1'])
      expectProblem(await matrix(query), 400, 'invalid_request')
  })

  it('is of them, too, for whoever runs SQL as the login of the Worker, and takes the permission', async () => {
    const database = await databaseOf(AT)
    const listOf = (ids: (string | undefined)[]) =>
      sql`array(select jsonb_array_elements_text(${JSON.stringify(ids)}::jsonb)::uuid)`
    const people = listOf([who.ana?.id, who.ben?.id, who.cam?.id])
    const rows = sql`select user_id from access.matrix_rows(${people}, ${listOf(Object.values(type))}, now())`
    const seen = async (permission: string | null) => {
      const credential = await credentialOf(realm, 'ben')
      return (await database.asApp(admit(database, credential, permission), rows)).map(({ user_id }) => user_id)
    }
    expect(await seen('competency:read')).toEqual([who.ben?.id])
    expect(await seen(null)).toEqual([])
  })

  it('is paged by people, a round trip for each page', async () => {
    const all = listed(await matrix())
    const found: string[] = []
    for (let cursor = ''; ; ) {
      const page = await matrix(`?limit=2${cursor}`)
      expect(page.trips).toBe(1)
      found.push(...listed(page))
      if (page.body.next_cursor === null) break
      cursor = `&cursor=${page.body.next_cursor}`
    }
    expect(found).toEqual(all)
  })

  it('of more than 200 types must be narrowed', async () => {
    await realm.asOwner(
      sql`insert into freehold.competency_types (id, name, kind) select gen_random_uuid(), 'many ' || n, 'certification' from generate_series(1, 200) n`,
    )
    const refused = await matrix()
    expectProblem(refused, 400, 'invalid_request')
    expect(pointers(refused)).toEqual(['#/query/type_id'])
    expectProblem(await file(), 400, 'invalid_request')
    expect((await matrix('?kind=certification')).body.types).toHaveLength(200)
    await realm.asOwner(sql`delete from freehold.competency_types where kind = 'certification'`)
  })
})

describe('the file', () => {
  it('has a line for each person and a column for each type, and no formula', async () => {
    await realm.asOwner(sql`update freehold.users set given_name = '=HYPERLINK("https://evil.test")' where username = 'cam'`)
    const answer = await file()
    expect([answer.status, answer.trips, answer.headers.get('Content-Type')]).toEqual([
      200,
      1,
      'text/csv; charset=utf-8; header=present',
    ])
    const [head, ...lines] = (answer.body as string).trimEnd().split('\r\n')
    expect(head).toBe("user_id,username,given_name,family_name,'=1+1,Crane,Weighing")
    const line = (name: string) => lines.find((one) => one.includes(`,${name},`)) ?? ''
    expect(line('ana')).toMatch(/,unverified,,"2, needs 3"$/)
    expect(line('ben')).toMatch(/,revoked,"missing, needs 3"$/)
    expect(line('cam')).toMatch(
      /,"'=HYPERLINK\(""https:\/\/evil\.test""\)",Okonkwo,,expired \(\d{4}-\d\d-\d\d\),3 \(\d{4}-\d\d-\d\d\)$/,
    )
  })

  it('takes competency:export, has those within its scope, and is recorded', async () => {
    await addMember(realm, 'rex', { roles: ['reader'], unit_id: unit.Water ?? null })
    expectProblem(await file('', await tokenOf(AT, 'rex')), 403, 'forbidden')
    const answer = await file(`?unit_id=${unit.Water}`, who.ana?.token)
    expect(answer.body).not.toContain(',cam,')
    expect(answer.body).toContain(',ana,')
    const found = await call(AT, '/api/v1/activities?activity_type=EXPORT&resource_type=competency&limit=1', { token })
    expect(found.body.data[0]).toMatchObject({ user_id: who.ana?.id, after: { unit_id: unit.Water } })
  })

  it('of more people than a page has has all of them, each once', async () => {
    await realm.asOwner(
      sql`insert into freehold.users (id, username, email, unit_id) select gen_random_uuid(), 'row-' || n, 'row-' || n || '@people.test', ${unit.Air}::uuid from generate_series(1, 230) n`,
    )
    const answer = await file(`?unit_id=${unit.Air}`)
    const names = (answer.body as string).trimEnd().split('\r\n').slice(1)
    expect(names).toHaveLength(231)
    expect(new Set(names.map((one) => one.slice(0, 36))).size).toBe(231)
  })
})
