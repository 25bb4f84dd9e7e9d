/** The audit as a file. Threat: an export that ends early and looks whole, that fills the memory, or that runs in who opens it. */
import { createExecutionContext } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { app } from '../../src/app.ts'
import { csvLine } from '../../src/audit/csv.ts'
import { addPerson, inside } from '../support/inside.ts'
import { call } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { type Cast, castOf, every } from './people.ts'

const AT = 'exported'
const PATH = '/api/v1/activities'
/** What the hashes of an activity are made of besides the activity. */
const PROOF = ['xid', 'checkpoint', 'detail_hash', 'salt']
let cast: Cast

beforeAll(async () => {
  cast = await castOf(AT)
  await cast.database.asOwner(
    sql`select access.write_audit('{"address": "192.0.2.9"}', 'SHIFT_BEGUN', 'begin', 'shift', 0, array_agg('s-' || g), null, array_agg(jsonb_build_object('n', g))) from generate_series(1, 5000) g`,
  )
})

/** The answer itself, unread. */
const asked = (query: string, token: string) =>
  app.fetch(
    new Request(`http://${AT}.freehold.test${PATH}/export?${query}`, { headers: { Authorization: `Bearer ${token}` } }),
    env,
    createExecutionContext(),
  )

/** The answer, read as text; a refusal as JSON. */
async function get(query: string, token = cast.tokens.bo) {
  const response = await asked(query, token)
  const text = new TextDecoder().decode(await response.arrayBuffer())
  return { status: response.status, headers: response.headers, text, body: response.ok ? null : JSON.parse(text) }
}

/** Fields of a CSV as RFC 4180 reads it. */
function parsed(text: string): string[][] {
  const rows: string[][] = [[]]
  for (const [, quoted, bare, end] of text.matchAll(/(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n|$)/g)) {
    rows.at(-1)?.push(quoted === undefined ? (bare ?? '') : quoted.replaceAll('""', '"'))
    if (end === '\r\n') rows.push([])
  }
  return rows.slice(0, -1)
}

describe('an export', () => {
  it('of 5,000 activities is complete and in order, as NDJSON', async () => {
    const answer = await get('format=ndjson&activity_type=SHIFT_BEGUN')
    expect(answer.status).toBe(200)
    expect(answer.headers.get('Server-Timing')).toContain('db;desc="1"')
    expect(answer.headers.get('Content-Type')).toBe('application/x-ndjson')
    expect(answer.headers.get('Content-Disposition')).toMatch(/^attachment; filename="activities-\d{4}-\d\d-\d\d\.ndjson"$/)
    expect(answer.headers.get('Cache-Control')).toBe('no-store')
    const lines = answer.text.split('\n')
    expect(lines.pop()).toBe('')
    const rows = lines.map((line) => JSON.parse(line))
    expect(rows.map(({ after }) => after.n).sort((a, b) => a - b)).toEqual(Array.from({ length: 5000 }, (_, i) => i + 1))
    const order = rows.map(({ at, id }) => `${at} ${id}`)
    expect(order).toEqual([...order].sort().reverse())
    const [first] = (await every(AT, `${PATH}?resource_id=${rows[0].resource_id}`, cast.tokens.bo)) as any[]
    expect(rows[0]).toMatchObject(first)
    expect(Object.keys(rows[0]).sort()).toEqual([...Object.keys(first), ...PROOF].sort())
  })

  it('of large activities is read in pages that Neon answers: each within 10 MiB', async () => {
    // A service records up to 16 KiB at a time, half of it quotes here, which the wire doubles.
    const state = (n: string) => sql.raw(`jsonb_build_object('n', ${n}, 'text', repeat('"', 7500))`)
    await cast.database.asOwner(
      sql`select access.write_audit('{"address": "192.0.2.9"}', 'BULK_BEGUN', 'begin', 'shift', 0, array_agg('b-' || g), null, array_agg(${state('g')})) from generate_series(1, 1100) g`,
    )
    const answer = await get('format=ndjson&activity_type=BULK_BEGUN')
    expect(answer.status).toBe(200)
    const rows = answer.text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(rows.map(({ after }) => after.n).sort((a, b) => a - b)).toEqual(Array.from({ length: 1100 }, (_, i) => i + 1))
    for (const counted of ['found', 'bytes_before']) expect(rows[0]).not.toHaveProperty(counted)
  })

  it('of 5,000 activities is complete, as CSV', async () => {
    const answer = await get('format=csv&activity_type=SHIFT_BEGUN')
    expect(answer.headers.get('Content-Type')).toMatch(/^text\/csv/)
    const [head, ...rows] = parsed(answer.text)
    expect(head?.join()).toBe(
      'id,at,user_id,user_name,activity_type,action,resource_type,resource_id,risk_score,trace_id,address,agent,method,path,before,after,api_key_id,impersonator_id,xid,checkpoint,detail_hash,salt',
    )
    expect(rows.every((row) => row.length === 22)).toBe(true)
    expect(new Set(rows.map((row) => JSON.parse(row[15] ?? '').n)).size).toBe(5000)
  })

  it('is streamed: a page is read when the reader has taken the one before, each admitted anew', async () => {
    const access_token = await tokenOf(AT)
    const answer = await asked('format=ndjson&activity_type=SHIFT_BEGUN', access_token)
    const reader = (answer.body as ReadableStream<Uint8Array>).getReader()
    const lines = async () => new TextDecoder().decode((await reader.read()).value).split('\n').length - 1
    expect([await lines(), await lines()]).toEqual([1000, 1000])
    await call(AT, '/api/v1/auth/logout', { method: 'POST', token: access_token })
    // Cut off, not closed: nobody takes a part for the whole.
    await expect(reader.read()).rejects.toThrow()
  })

  it('spends one round trip before it begins and one for each further 1,000', async () => {
    const pages = async (query: string) => {
      const reader = ((await asked(query, cast.tokens.bo)).body as ReadableStream<Uint8Array>).getReader()
      let n = 0
      while (!(await reader.read()).done) n++
      return n
    }
    expect(await pages('format=ndjson&activity_type=LOGIN')).toBe(1)
    expect(await pages('format=ndjson&activity_type=SHIFT_BEGUN')).toBe(5)
  })

  it('is recorded, with what was asked for, and is not in itself', async () => {
    const answer = await get(`format=ndjson&user_id=${cast.people.cy.id}&min_risk=0`)
    expect(answer.text).not.toContain('"EXPORT"')
    const [row] = await every(AT, `${PATH}?activity_type=EXPORT`, cast.tokens.bo)
    expect(row).toMatchObject({
      user_name: 'bo',
      action: 'export',
      resource_type: 'activity',
      trace_id: answer.headers.get('X-Trace-Id'),
      after: { format: 'ndjson', user_id: cast.people.cy.id, min_risk: 0 },
    })
  })

  it('shows what its reader reaches, and is for who may export', async () => {
    const { text } = await get('format=ndjson', cast.tokens.eve)
    const names = text.split('\n').flatMap((line) => (line ? [JSON.parse(line).user_name] : []))
    expect(new Set(names)).toEqual(new Set(['eve']))
    expectProblem(await get('format=csv', cast.tokens.cy), 403, 'forbidden')
    expectProblem(await get('format=xml'), 400, 'invalid_request')
    expectProblem(await get(''), 400, 'invalid_request')
    const none = await get(`format=csv&activity_type=NO_SUCH`)
    expect(parsed(none.text)).toHaveLength(1)
    expect((await get('format=ndjson&activity_type=NO_SUCH')).text).toBe('')
  })

  it('runs in no spreadsheet: what somebody wrote is not read as a formula', async () => {
    const agent = '=HYPERLINK("http://evil.test","x")'
    const username = '+sum(1+1)*cmd|calc'
    await addPerson(await inside(AT), username)
    await call(AT, '/api/v1/auth/login', { body: { username, password: 'not it at all' }, headers: { 'User-Agent': agent } })
    const [, row] = parsed((await get('format=csv&activity_type=LOGIN_FAILED')).text)
    expect([row?.[3], row?.[11]]).toEqual([`'${username}`, `'${agent}`])
  })
})

describe('a line of CSV', () => {
  it.each([
    [['a', null, undefined, 7, { a: 1 }], 'a,,,7,"{""a"":1}"\r\n'],
    [['a,b', 'a"b', 'a\r\nb', ' a'], '"a,b","a""b","a\r\nb", a\r\n'],
    [['=1', '+1', '-1', '@a', '\t1', '\r1', '＝1'], "'=1,'+1,'-1,'@a,'\t1,\"'\r1\",'＝1\r\n"],
    [['1=1', 'a-b', ''], '1=1,a-b,\r\n'],
  ])('%j', (values, line) => expect(csvLine(values)).toBe(line))
})
