import { describe, expect, test } from 'vitest'
import { as, started } from './started.ts'

const LIMIT = 200_000
const { newProject, post, state } = started({ limits: { requestBytes: LIMIT, responseBytes: LIMIT } })

const KEYS =
  'message code detail hint position internalPosition internalQuery severity where table column schema dataType constraint file line routine'

describe('a connection string', () => {
  test('is checked in Neon’s order and words', async () => {
    const { uri } = await newProject()
    const refused: [string | undefined, string][] = [
      [undefined, 'invalid header: neon-connection-string'],
      ['nonsense', 'invalid connection string: relative URL without a base'],
      ['mysql:', 'incorrect scheme'],
      ['postgresql://host', 'missing database name'],
      ['postgresql://host/db', 'missing username'],
      ['postgresql://user@host/db', 'missing authentication credentials: required password'],
      ['postgresql://user:pw@127.0.0.1/db', 'missing hostname'],
      ['postgresql://user:pw@ep-unknown.neon.tech/db', "password authentication failed for user 'user'"],
    ]
    for (const [connection, message] of refused) {
      const { status, body } = await post(connection, { query: 'select 1' })
      expect({ status, message: body.message, code: body.code }).toEqual({ status: 400, message, code: '' })
    }
    expect((await post(uri, { query: 'select 1' })).status).toBe(200)
  })

  test('has its parts decoded, and its other parameters ignored', async () => {
    const { uri } = await newProject()
    const owner = (query: string) => post(uri, { query })
    await owner(`create role "o'dd @ name" login password 'p/ss w:rd-123?'`)
    const odd = as(uri, "o'dd @ name", 'p/ss w:rd-123?').concat('&options=-c%20work_mem%3D64&search_path=nowhere')
    const { body } = await post(odd, { query: "select current_user as me, current_setting('work_mem') as memory" })
    expect(body.rows).toEqual([{ me: "o'dd @ name", memory: '4MB' }])
  })
})

describe('an answer', () => {
  test('has the metadata of its columns', async () => {
    const { uri } = await newProject()
    await post(uri, { query: 'create table t (n int, price numeric(10, 2))' })
    const { body, headers } = await post(uri, { query: 'select price, n + 1 as more from t' })
    expect(body).toEqual({
      command: 'SELECT',
      rowCount: 0,
      rowAsArray: false,
      rows: [],
      fields: [
        {
          name: 'price',
          dataTypeID: 1700,
          tableID: expect.any(Number),
          columnID: 2,
          dataTypeSize: -1,
          dataTypeModifier: 655366,
          format: 'text',
        },
        { name: 'more', dataTypeID: 23, tableID: 0, columnID: 0, dataTypeSize: 4, dataTypeModifier: -1, format: 'text' },
      ],
    })
    expect(headers.get('content-type')).toBe('application/json')
    expect(headers.get('access-control-allow-origin')).toBe('*')
    expect(headers.get('neon-request-id')).toMatch(/^[0-9a-f-]{36}$/)
  })

  test('is cooked unless raw text is asked for', async () => {
    const { uri } = await newProject()
    await post(uri, { query: "create type mood as enum ('so', 'so so')" })
    const query = `select true as yes, 2::int2 as small, 1.5::float8 as float, 'NaN'::float4 as nan, 9::int8 as big, 0.10 as exact,
      '{"a":[1]}'::jsonb as json, array[[1, 2], [3, null]] as grid, '[2:3]={a,"b \\"c\\""}'::text[] as texts, array['{"k":1}'::json] as jsons,
      array['so so', 'so']::mood[] as moods, '{}'::bool[] as none, null as nothing, date '2026-01-02' as day`
    expect((await post(uri, { query })).body.rows[0]).toEqual({
      yes: true,
      small: 2,
      float: 1.5,
      nan: 'NaN',
      big: '9',
      exact: '0.10',
      json: { a: [1] },
      grid: [
        [1, 2],
        [3, null],
      ],
      texts: ['a', 'b "c"'],
      jsons: [{ k: 1 }],
      moods: ['so so', 'so'],
      none: [],
      nothing: null,
      day: '2026-01-02',
    })
    const raw = await post(uri, { query }, { 'neon-raw-text-output': 'true', 'Neon-Array-Mode': 'true' })
    expect(raw.body.rows[0].slice(0, 8)).toEqual(['t', '2', '1.5', 'NaN', '9', '0.10', '{"a": [1]}', '{{1,2},{3,NULL}}'])
    expect((await post(uri, { query }, { 'neon-raw-text-output': 'yes' })).body.rows[0].yes).toBe(true)
  })

  test('has rows as lists or objects, as the query says or else the header', async () => {
    const { uri } = await newProject()
    const list = { 'neon-array-mode': 'true' }
    expect((await post(uri, { query: 'select 1 as a, 2 as a' }, list)).body).toMatchObject({ rows: [[1, 2]], rowAsArray: true })
    expect((await post(uri, { query: 'select 1 as a, 2 as a' })).body).toMatchObject({ rows: [{ a: 2 }], rowAsArray: false })
    const { body } = await post(
      uri,
      { queries: [{ query: 'select 1 as a', arrayMode: false }, { query: 'select 1 as a' }] },
      list,
    )
    expect(body.results.map(({ rows }: { rows: unknown }) => rows)).toEqual([[{ a: 1 }], [[1]]])
  })

  test('takes parameters as JSON', async () => {
    const { uri } = await newProject()
    const query =
      'select $1::text as a, $2::int as b, $3::bool as c, $4::jsonb as d, $5::text[] as e, $6::int[] as f, $7::jsonb[] as g'
    const params = [
      null,
      7,
      true,
      { x: [1] },
      ['a"b', 'c,d', null, 'NULL'],
      [
        [1, 2],
        [3, 4],
      ],
      [{ k: 1 }],
    ]
    const expected = {
      a: null,
      b: 7,
      c: true,
      d: { x: [1] },
      e: ['a"b', 'c,d', null, 'NULL'],
      f: [
        [1, 2],
        [3, 4],
      ],
      g: [{ k: 1 }],
    }
    expect((await post(uri, { query, params })).body.rows[0]).toEqual(expected)
  })
})

describe('a batch', () => {
  test('repeats the headers that were set', async () => {
    const { uri } = await newProject()
    const asked = {
      'neon-batch-isolation-level': 'Serializable',
      'neon-batch-read-only': 'true',
      'neon-batch-deferrable': 'true',
    }
    const { body, headers } = await post(uri, { queries: [] }, asked)
    expect(body).toEqual({ results: [] })
    for (const [name, value] of Object.entries(asked)) expect(headers.get(name)).toBe(value)
    expect((await post(uri, { query: 'select 1' }, asked)).headers.has('neon-batch-read-only')).toBe(false)
  })

  test('at an unknown isolation is refused', async () => {
    const { uri } = await newProject()
    const { status, body } = await post(uri, { queries: [] }, { 'neon-batch-isolation-level': 'serializable' })
    expect([status, body.message]).toEqual([400, 'invalid isolation level'])
  })
})

describe('a failure', () => {
  test('has the same 17 keys, whoever failed', async () => {
    const { uri } = await newProject()
    const postgres = (await post(uri, { query: 'select 1 / 0' })).body
    expect(Object.keys(postgres).sort()).toEqual(KEYS.split(' ').sort())
    expect(postgres).toMatchObject({ code: '22012', severity: 'ERROR', detail: null, line: expect.any(String) })
    const ours = (await post(uri, '{"quer')).body
    expect(Object.keys(ours).sort()).toEqual(KEYS.split(' ').sort())
    expect(ours).toMatchObject({
      code: '',
      severity: '',
      detail: null,
      message: expect.stringMatching(/^could not parse the HTTP request body: /),
    })
  })

  test('of an unreadable body is a 400', async () => {
    const { uri } = await newProject()
    for (const body of ['', '[]', '{}', '{"query":1}', '{"query":"select 1","params":1}', '{"queries":[{}]}']) {
      expect((await post(uri, body)).status).toBe(400)
    }
    expect((await post(uri, { query: 'select \0 1' })).status).toBe(400)
    expect(await post(uri, { query: 'select $1::text', params: ['\0'] })).toMatchObject({ status: 400, body: { code: '22021' } })
  })

  test('of size is a 413 for the request and a 507 for the answer', async () => {
    const { uri } = await newProject()
    const large = await post(uri, { query: 'select length($1)', params: ['x'.repeat(LIMIT)] })
    expect([large.status, large.body.message]).toEqual([413, `request is too large (max is ${LIMIT} bytes)`])
    const many = await post(uri, { query: `select repeat('x', 1000) from generate_series(1, 1000000)` })
    expect([many.status, many.body.message]).toEqual([507, `response is too large (max is ${LIMIT} bytes)`])
    expect((await post(uri, { query: `select repeat('x', ${LIMIT / 2}) as x` })).status).toBe(200)
  })
})

describe('other requests', () => {
  test('are not supported, in Neon’s words', async () => {
    const base = state.sqlUrl.replace('/sql', '')
    for (const [method, path] of [
      ['GET', '/sql'],
      ['POST', '/other'],
      ['GET', '/'],
      ['PUT', '/sql'],
    ]) {
      const response = await fetch(`${base}${path}`, { method: method ?? '' })
      expect([response.status, await response.text()]).toEqual([400, '"query is not supported"'])
      expect(response.headers.has('neon-request-id')).toBe(true)
    }
  })

  test('a preflight tells what is allowed', async () => {
    const { status, headers } = await fetch(state.sqlUrl, { method: 'OPTIONS' })
    expect(status).toBe(200)
    expect(headers.get('allow')).toBe('OPTIONS, POST')
    expect(headers.get('access-control-max-age')).toBe('86400')
    expect(headers.get('access-control-allow-headers')).toContain('Neon-Connection-String')
  })
})
