/**
 * Moving employees in, as JSON lines and as CSV. Threat: a row that stops the others or gets past a rule; a file that is read
 * otherwise than it was written, or whose end is lost and looks complete; and a cell that a spreadsheet would run.
 */
import { exports } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Inside, inside } from '../support/inside.ts'
import { knock } from '../support/knock.ts'
import { call } from '../support/people.ts'
import { expectDiscreet, expectProblem, pointers } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { addMember, addRole, addUnit } from '../users/cast.ts'

const AT = 'hired'
let realm: Inside
let token: string
const id: Record<string, string> = {}
const who: Record<string, Awaited<ReturnType<typeof addMember>>> = {}

beforeAll(async () => {
  await copyTenant(AT)
  await copyTenant('hired-next')
  realm = await inside(AT)
  token = await tokenOf(AT)
  id.Lab = await addUnit(realm, 'department', 'Lab')
  id.Water = await addUnit(realm, 'team', 'Water', id.Lab)
  id.Sales = await addUnit(realm, 'department', 'Sales')
  for (const parent of [id.Lab, id.Sales]) await addUnit(realm, 'team', 'Desk', parent)
  await addRole(realm, 'clerk', ['employee:read', 'employee:create', 'user:read'], 'department')
  who.clerk = await addMember(realm, 'clerk', { roles: ['clerk', 'user'], unit_id: id.Lab ?? null })
  for (const name of ['mia', 'noa', 'pim']) who[name] = await addMember(realm, name, { unit_id: id.Water ?? null })
  who.sal = await addMember(realm, 'sal', { unit_id: id.Sales ?? null })
})

type Row = { line: number; status: string; id?: string; code?: string; errors?: { pointer: string; detail: string }[] }
type Asked = { as?: string | null; query?: string; type?: string; at?: string; language?: string }
const NDJSON = 'application/x-ndjson'

/** Sends a file as it is; the answer, row by row. */
async function send(body: BodyInit | ReadableStream, { as = token, query = '', type = NDJSON, at = AT, language }: Asked = {}) {
  const headers = {
    'Content-Type': type,
    ...(as && { Authorization: `Bearer ${as}` }),
    ...(language && { 'Accept-Language': language }),
  }
  const url = `http://${at}.freehold.test/api/v1/employees/import?${query}`
  const answer = await exports.default.fetch(new Request(url, { method: 'POST', headers, body, duplex: 'half' } as RequestInit))
  const text = new TextDecoder().decode(await answer.arrayBuffer())
  if (!answer.ok)
    return { status: answer.status, headers: answer.headers, body: JSON.parse(text), rows: [] as Row[], summary: null as any }
  expectDiscreet({ status: 200, headers: answer.headers, body: text })
  const rows = text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
  return { status: 200, headers: answer.headers, body: text, summary: rows.pop() as any, rows: rows as Row[] }
}
const lines = (all: object[]) => all.map((one) => `${JSON.stringify(one)}\n`).join('')
const HEAD = 'document_type,document_number,given_names,family_name'
const table = (rows: string[], more: Asked = {}, head = HEAD) => send([head, ...rows].join('\r\n'), { type: 'text/csv', ...more })
const faults = (row: Row | undefined) => row?.errors?.map(({ pointer, detail }) => `${pointer} ${detail}`)

let number = 50_000_000
const person = (more: object = {}) => ({
  document_type: 'dni',
  document_number: String(++number),
  given_names: 'Lucía',
  family_name: 'Rojas',
  ...more,
})
const count = async () => Number((await realm.asOwner(sql`select count(*)::int as n from freehold.employees`))[0]?.n)
const get = (one: string | undefined, as = token) => call(AT, `/api/v1/employees/${one}`, { token: as })

describe('JSON lines', () => {
  it('make an employee each; a broken one stops no other, and each is told what became of it', async () => {
    const before = await count()
    const [first, twice] = [person({ birth_date: '1990-04-30', status: null, user_id: null }), person()]
    const answer = await send(
      `${lines([first, twice, twice, person({ birth_date: '1990-02-30' }), person({ surprise: 1 })])}{"broken\n\n${lines([
        person({ user_id: who.mia?.id }),
        person({ user: ' MIA@people.test ' }),
        person({ user: 'noa', unit: 'Water', employed_since: '2020-02-01' }),
      ])}`,
    )
    expect(answer.rows.map(({ line, status, code, errors }) => [line, status, code, errors?.[0]?.pointer])).toEqual([
      [1, 'created', undefined, undefined],
      [2, 'created', undefined, undefined],
      [3, 'failed', 'already_exists', '#/document_number'],
      [4, 'failed', 'invalid_request', '#/birth_date'],
      [5, 'failed', 'invalid_request', '#/surprise'],
      [6, 'failed', 'invalid_request', '#'],
      [8, 'created', undefined, undefined],
      [9, 'failed', 'already_exists', '#/user'],
      [10, 'created', undefined, undefined],
    ])
    expect(answer.summary).toEqual({ summary: true, dry_run: false, lines: 9, created: 4, failed: 5, complete: true })
    expect(await count()).toBe(before + 4)
    expect((await get(answer.rows[0]?.id)).body).toMatchObject({ ...first, status: 'active', is_masked: false })
    const noa = (await get(answer.rows[8]?.id)).body
    expect(noa).toMatchObject({ user_id: who.noa?.id, unit_id: id.Water, employed_since: '2020-02-01' })
    const [entry] = await realm.asOwner(
      sql`select d.after from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id where l.activity_type = 'EMPLOYEES_IMPORTED'`,
    )
    expect(entry?.after).toEqual({ lines: 9, created: 4, failed: 5 })
  })

  it('of a dry run make nobody, and are told the same, also beyond one batch', async () => {
    const before = await count()
    const many = Array.from({ length: 250 }, () => person())
    const all = [
      person({ user: 'pim' }),
      ...many,
      many[3] ?? {},
      person({ user_id: who.pim?.id }),
      person({ user: 'pim@people.test' }),
    ]
    const dry = await send(lines(all), { query: 'dry_run=true' })
    expect([dry.summary.created, dry.summary.failed, await count()]).toEqual([251, 3, before])
    expect(dry.rows.every(({ id: made }) => made === undefined)).toBe(true)
    const real = await send(lines(all))
    const told = ({ rows }: typeof dry) => rows.map(({ line, code, errors }) => [line, code, errors])
    expect(told(dry)).toEqual(told(real))
    const again = await send(lines(all))
    expect([again.summary.created, again.summary.failed]).toEqual([0, 254])
  })

  it('at once twice make each once', async () => {
    const all = lines(Array.from({ length: 20 }, () => person()))
    const answers = await Promise.all(Array.from({ length: 5 }, () => send(all)))
    expect(answers.reduce((sum, { summary }) => sum + summary.created, 0)).toBe(20)
  })
})

describe('a table', () => {
  it('of a spreadsheet is read: byte order mark, CRLF, quotes, empty rows, columns in any order', async () => {
    const rows = [
      `dni,${++number},"Quispe, Rojas","José ""Pepe""","Jr. Puno 12, piso 3",+51911122233`,
      ',,,,,',
      '',
      `dni,${++number},Ñahui,Ana,,`,
    ]
    const head = '\ufeffDocument_Type,document_number,family_name,given_names,address,phone'
    const answer = await table(rows, {}, head)
    expect(answer.rows.map(({ line, status }) => [line, status])).toEqual([
      [2, 'created'],
      [5, 'created'],
    ])
    expect((await get(answer.rows[0]?.id)).body).toMatchObject({
      family_name: 'Quispe, Rojas',
      given_names: 'José "Pepe"',
      address: 'Jr. Puno 12, piso 3',
      phone: '+51911122233',
    })
    expect((await get(answer.rows[1]?.id)).body).toMatchObject({ family_name: 'Ñahui', address: null, phone: null })
  })

  it('with a line break within a cell is refused that cell alone, and what comes after is told by its own line', async () => {
    const answer = await table([`dni,${++number},"Ana\r\nMaría",Rojas`, `dni,${++number},Bea,Rojas`])
    expect(answer.rows.map((row) => [row.line, row.errors?.[0]?.pointer])).toEqual([
      [2, '#/given_names'],
      [4, undefined],
    ])
  })

  it('with semicolons, as spreadsheets in Spanish write it, is read as well', async () => {
    const answer = await table(
      [`dni;${++number};Ana;Rojas, de`],
      { type: 'text/csv; charset=utf-8; header=present' },
      HEAD.replaceAll(',', ';'),
    )
    expect((await get(answer.rows[0]?.id)).body).toMatchObject({ given_names: 'Ana', family_name: 'Rojas, de' })
  })

  it('keeps a formula as text, takes back what an export has escaped, and escapes it when it goes out again', async () => {
    const formula = '=HYPERLINK("http://evil.test";"x")'
    const cell = `"${formula.replaceAll('"', '""')}"`
    const answer = await table(
      [`dni,${++number},Ana,Rojas,${cell},+51911122233`, `dni,${++number},Bea,Rojas,"'${cell.slice(1)},'+51911122234`],
      {},
      `${HEAD},position,phone`,
    )
    expect(answer.summary).toMatchObject({ created: 2 })
    const shown = await Promise.all(answer.rows.map(async (row) => (await get(row.id)).body))
    expect(shown.map(({ position, phone }) => [position, phone])).toEqual([
      [formula, '+51911122233'],
      [formula, '+51911122234'],
    ])
    const url = `http://${AT}.freehold.test/api/v1/employees/report?by=position&format=csv`
    const report = await exports.default.fetch(new Request(url, { headers: { Authorization: `Bearer ${token}` } }))
    const text = new TextDecoder().decode(await report.arrayBuffer())
    expect(text).toContain(`"'${cell.slice(1)}`)
    expect(text).not.toMatch(/(^|,|\n)"?=/)
  })

  it.each<[string, string, string[]]>([
    ['without a column that each employee has', 'document_type,document_number,given_names', ['#/family_name']],
    ['with a column that there is none of', `${HEAD},salary`, ['#/salary']],
    ['with a column twice', `${HEAD},position,position`, ['#/position']],
    [
      'without names of columns',
      'dni,40123478,Ana,Rojas',
      ['#/document_type', '#/document_number', '#/given_names', '#/family_name', '#/dni', '#/40123478', '#/ana', '#/rojas'],
    ],
    ['with a quote that does not end in them', `"${HEAD}`, ['#']],
    ['with nothing in it', '', ['#']],
  ])('%s is refused as a whole', async (_, head, where) => {
    const answer = await table(head ? [`dni,${++number},Ana,Rojas`] : [], {}, head)
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual([...where].sort())
  })

  it('in Latin-1 is told so, by row, and as a whole where the names of the columns are', async () => {
    const latin = (text: string) => Uint8Array.from(text, (c) => c.charCodeAt(0))
    const rows = await send(latin(`${HEAD}\r\ndni,${++number},Jos\xe9,Rojas\r\ndni,${++number},Ana,Rojas`), { type: 'text/csv' })
    expect(faults(rows.rows[0])).toEqual(['# is not UTF-8: save the file as CSV in UTF-8'])
    expect(rows.rows[1]?.status).toBe('created')
    const head = await send(latin(`${HEAD},posici\xf3n\r\n`), { type: 'text/csv' })
    expectProblem(head, 400, 'invalid_request')
    expect(head.body.errors).toEqual([{ pointer: '#', detail: 'is not UTF-8: save the file as CSV in UTF-8' }])
    const utf16 = await send(Uint8Array.from([0xff, 0xfe, 100, 0, 110, 0]), { type: 'text/csv' })
    expectProblem(utf16, 400, 'invalid_request')
    expectProblem(await send(`${HEAD}\n`, { type: 'text/csv; charset=iso-8859-1' }), 415, 'unsupported_media_type')
  })

  it('says of a row what is wrong with it, in Spanish too, and takes the others', async () => {
    const rows = [
      `dni,${++number},Ana`,
      `dni,${++number},A"na,Rojas`,
      `dni,${number},Ana,Rojas`,
      `dni,${number},Ana,Rojas`,
      `,${++number},Ana,Rojas`,
      `dni,${++number},${'x'.repeat(17_000)},Rojas`,
      `dni,${++number},Bea,Rojas`,
    ]
    const answer = await table(rows, { language: 'es' })
    expect(answer.rows.map((row) => [row.line, row.code, faults(row)?.[0]])).toEqual([
      [2, 'invalid_request', '# tiene 3 valores para 4 columnas'],
      [3, 'invalid_request', '# tiene una comilla que no termina'],
    ])
    expect(answer.summary).toMatchObject({
      complete: false,
      detail: 'La comilla de la línea 3 no termina: no se leyó nada después.',
    })
    const sound = await table(rows.map((row) => row.replace('A"na', 'A""na')))
    expect(sound.rows.map((row) => [row.line, row.code, faults(row)?.[0]])).toEqual([
      [2, 'invalid_request', '# has 3 values for 4 columns'],
      [3, 'invalid_request', '# has a quote in the middle of a value'],
      [4, undefined, undefined],
      [5, 'already_exists', '#/document_number is taken'],
      [6, 'invalid_request', expect.stringContaining('#/document_type')],
      [7, 'invalid_request', '# is longer than 16384 bytes'],
      [8, undefined, undefined],
    ])
  })
})

describe('who may not', () => {
  it('is refused before the answer begins', async () => {
    const line = lines([person()])
    expectProblem(await send(line, { as: null }), 401, 'token_missing')
    expectProblem(await send(line, { as: await tokenOf('hired-next') }), 401, 'token_wrong_tenant')
    expectProblem(await send(line, { as: who.mia?.token ?? '' }), 403, 'forbidden')
    expectProblem(await send('', { as: who.mia?.token ?? '', type: 'text/csv' }), 403, 'forbidden')
    for (const type of ['application/json', 'text/plain', 'multipart/form-data; boundary=x'])
      expectProblem(await send(line, { type }), 415, 'unsupported_media_type')
    expect(pointers(await send(line, { query: 'dry_run=maybe' }))).toEqual(['#/query/dry_run'])
    const reading = await knock(`http://${AT}.freehold.test/api/v1/employees/import`, {
      headers: { Authorization: `Bearer ${token}` },
    })
    expect([reading.status, reading.headers.get('Allow')]).toEqual([405, 'POST'])
  })

  it('moves in where they reach, links whom they reach, and nothing else', async () => {
    const answer = await send(
      lines([
        person({ unit: 'Water' }),
        person({ unit_id: id.Sales }),
        person({ unit: 'Sales' }),
        person(),
        person({ unit: 'Lab', user: 'sal' }),
        person({ unit: 'Lab', user_id: who.sal?.id }),
        person({ unit: 'Lab', user: 'nobody@people.test' }),
        person({ unit: 'Desk' }),
        person({ unit: 'Desk', unit_id: id.Lab }),
      ]),
      { as: who.clerk?.token ?? '' },
    )
    expect(answer.rows.map((row) => [row.code, row.errors?.[0]?.pointer])).toEqual([
      [undefined, undefined],
      ['forbidden', '#/unit_id'],
      ['invalid_request', '#/unit'],
      ['forbidden', '#/unit_id'],
      ['invalid_request', '#/user'],
      ['invalid_request', '#/user_id'],
      ['invalid_request', '#/user'],
      [undefined, undefined],
      ['invalid_request', '#/unit'],
    ])
    // Who reaches both is asked which.
    expect(faults((await send(lines([person({ unit: 'Desk' })]))).rows[0])).toEqual([
      '#/unit is the name of more than one unit: send unit_id',
    ])
    // What they moved in is masked to them.
    expect((await get(answer.rows[0]?.id, who.clerk?.token)).body).toMatchObject({
      is_masked: true,
      document_number: expect.stringMatching(/^\*+/),
    })
  })
})
