/**
 * Threat: what is stored is not what was sent. A byte, a number or one of two equal names is replaced in silence, and the audit
 * records the replacement as if it had been said.
 */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Cast, cast, type Member } from '../roles/cast.ts'
import { type Heard, knock } from '../support/knock.ts'
import { tokenOf } from '../support/sessions.ts'

const AT = 'strict'
const MIB = 1024 * 1024
let here: Cast
let ann: Member

beforeAll(async () => {
  here = await cast(AT)
  ann = await here.member('ann')
})

const bytes = (text: string) => Uint8Array.from(text, (c) => c.charCodeAt(0))
const JSON_TYPE = 'application/json'
const FORM = 'application/x-www-form-urlencoded'

/** A body exactly as written, by ann unless another token is given. */
const send = (method: string, path: string, body: string | Uint8Array, type = JSON_TYPE, token = ann.token): Promise<Heard> =>
  knock(`http://${AT}.freehold.test/api/v1${path}`, {
    method,
    body,
    headers: { 'Content-Type': type, Authorization: `Bearer ${token}` },
  })
const patch = (body: string | Uint8Array, type?: string) => send('PATCH', `/users/${ann.id}`, body, type)
const login = (body: string | Uint8Array, type = FORM) =>
  knock(`http://${AT}.freehold.test/api/v1/auth/login`, { method: 'POST', body, headers: { 'Content-Type': type } })
const faultsOf = ({ status, body }: Heard) => [status, body.code, body.errors?.map((e: { pointer: string }) => e.pointer)]
const refused = (heard: Heard, pointer: string) =>
  expect(faultsOf(heard), heard.text).toEqual([400, 'invalid_request', [pointer]])
const stored = async () =>
  (await here.realm.asOwner(sql`select to_jsonb(u) as ann from freehold.users u where id = ${ann.id}`))[0]

describe('bytes that are not UTF-8', () => {
  it.each([
    ['Latin-1', bytes('{"given_name":"Jos\xe9"}')],
    ['half of a character', bytes('{"given_name":"Jos\xc3"}')],
    ['a surrogate in UTF-8', bytes('{"given_name":"\xed\xa0\x80"}')],
    ['an overlong slash', bytes('{"given_name":"\xc0\xaf"}')],
  ])('in JSON are refused and nothing is stored: %s', async (_, body) => {
    const before = await stored()
    refused(await patch(body), '#')
    expect(await stored()).toEqual(before)
  })

  it.each([
    ['raw', bytes(`username=ann&password=Jos\xe9`)],
    ['percent-encoded', 'username=ann&password=Jos%E9'],
    ['percent-encoded in a name', 'username=ann&password=x&p%ff=1'],
  ])('in a form are refused: %s', async (_, body) => refused(await login(body), '#'))

  it('in a query are refused', async () => refused(await here_get('/users?search=Jos%E9'), '#/query'))

  it('never open what other bytes closed: a password of one bad byte is not that of another', async () => {
    const change = (password: string) =>
      send('POST', '/auth/password-change', bytes(`{"current_password":"${ann.password}","new_password":"${password}"}`))
    refused(await change('Kettle-\xff-Marble-52'), '#')
  })
})

const here_get = (path: string) =>
  knock(`http://${AT}.freehold.test/api/v1${path}`, { headers: { Authorization: `Bearer ${here.bo.token}` } })

describe('a content type', () => {
  it.each([
    'application/json;charset=utf-8',
    'application/json ; charset=utf-8',
    'application/json; charset="UTF-8"',
    'application/json;',
    'Application/JSON; charset=utf8',
    'application/json; version=1',
    'application/merge-patch+json',
    'application/merge-patch+json; charset=utf-8',
  ])('%s of a patch is taken', async (type) => {
    const heard = await patch('{"designation":null,"given_name":"José"}', type)
    expect([heard.status, heard.body.given_name], heard.text).toEqual([200, 'José'])
  })

  it.each(['application/json; charset=iso-8859-1', 'application/json;charset=utf-16', 'application/json; charset="latin1"'])(
    '%s is a 415',
    async (type) => expect((await patch('{"given_name":"Ann"}', type)).status).toBe(415),
  )

  it('merge-patch is that of a patch alone', async () => {
    expect((await send('POST', '/units', '{}', 'application/merge-patch+json', here.bo.token)).status).toBe(415)
  })
})

describe('half of a surrogate pair', () => {
  it.each([
    ['{"given_name":"\\ud800"}', '#/given_name'],
    ['{"preferences":{"a":{"b":["x","\\udc00x"]}}}', '#/preferences/a/b/1'],
    ['{"preferences":{"\\ud83d":1}}', '#/preferences/\ufffd'],
  ])('in %s is refused', async (body, pointer) => refused(await patch(body), pointer))

  it('is no fault where the other half follows, escaped or not', async () => {
    const heard = await patch('{"preferences":{"escaped":"\\ud83d\\ude00","plain":"😀"}}')
    expect(heard.body.preferences).toMatchObject({ escaped: '😀', plain: '😀' })
  })
})

describe('a name', () => {
  it.each([
    ['{"given_name":"Ann","given_name":"Bea"}', '#/given_name'],
    ['{"given_name":"Ann","given_name":"Ann"}', '#/given_name'],
    ['{"given_name":"Ann","given\\u005fname":"Bea"}', '#/given_name'],
    ['{"preferences":{"a":[{"b":1,"c":2,"b":3}]}}', '#/preferences/a/0/b'],
    ['{"preferences":{"~/":1,"~/":2}}', '#/preferences/~0~1'],
  ])('that is there twice is refused: %s', async (body, pointer) => refused(await patch(body), pointer))

  it.each(['{"preferences":{"__proto__":{"admin":true}}}', '{"preferences":{"\\u005f_proto__":1}}'])(
    '__proto__ is refused, not lost: %s',
    async (body) => refused(await patch(body), '#/preferences/__proto__'),
  )

  it('that an object shares with one inside it, or beside it, is kept in both', async () => {
    const heard = await patch('{"preferences":{"a":{"a":1},"b":[{"a":2},{"a":3}],"constructor":{"a":4},"hasOwnProperty":5}}')
    expect(heard.body.preferences).toMatchObject({
      a: { a: 1 },
      b: [{ a: 2 }, { a: 3 }],
      constructor: { a: 4 },
      hasOwnProperty: 5,
    })
  })
})

describe('a number', () => {
  const activity = (body: string) => send('POST', '/activities', body, JSON_TYPE, here.bo.token)
  const about = (before: string, after: string) =>
    `{"activity_type":"LOT_MOVED","action":"update","resource_type":"lot","resource_id":"1","before":{"lot":${before}},"after":{"lot":${after}}}`

  it('that would be rounded is refused, so that the audit records no change that is none', async () => {
    refused(await activity(about('1', '1546130668394913823')), '#/after/lot')
    refused(await activity(about('1546130668394913822', '1')), '#/before/lot')
    refused(await activity(about('1', '1e400')), '#/after/lot')
  })

  it.each([
    '9007199254740993',
    '-9007199254740993',
    '1e400',
    '-1e400',
    '1e-400',
    '0.1234567890123456789',
    '123456789012345678e3',
  ])('%s has no equal, and is refused', async (number) =>
    refused(await patch(`{"preferences":{"n":${number}}}`), '#/preferences/n'),
  )

  it.each([
    ['9007199254740991', 9007199254740991],
    ['9007199254740992', 9007199254740992],
    ['0.1', 0.1],
    ['-0.000001', -0.000001],
    ['1e3', 1000],
    ['1.50', 1.5],
    ['100000000000000000000', 1e20],
    ['1E+2', 100],
    ['3.141592653589793', Math.PI],
    ['0e5', 0],
  ])('%s is kept', async (number, value) => {
    const heard = await patch(`{"preferences":{"n":${number}}}`)
    expect([heard.status, heard.body.preferences?.n], heard.text).toEqual([200, value])
  })
})

describe('text that is no JSON', () => {
  it.each([
    '{"given_name":"Ann",}',
    "{'given_name':'Ann'}",
    '{"given_name":"Ann"} // c',
    '{"given_name":NaN}',
    '{}{}',
    '[1 2]',
    '{"a":01}',
  ])('%s is refused', async (body) => refused(await patch(body), '#'))

  it.each([
    ['open brackets', '['.repeat(MIB - 10)],
    ['open objects', '{"a":'.repeat(MIB / 5 - 10)],
    ['brackets that close', `${'['.repeat(400_000)}${']'.repeat(400_000)}`],
    ['backslashes', `"${'\\\\'.repeat(MIB / 2 - 10)}"`],
    ['digits', '9'.repeat(MIB - 10)],
    ['names', `{${Array.from({ length: 80_000 }, (_, n) => `"k${n}":0`).join(',')}}`],
  ])('or that is a mebibyte of %s is refused as well, twenty at once', async (_, body) => {
    const answers = await Promise.all(Array.from({ length: 20 }, () => send('POST', '/units', body, JSON_TYPE, here.bo.token)))
    for (const { status, text } of answers) expect([status, text.length < 8_192]).toEqual([400, true])
  })

  it('is refused with its place in a line of an import, and the lines beside it are imported', async () => {
    const lines = [
      '{"email":"a@strict.test"}',
      '{"email":"b@strict.test","email":"c@strict.test"}',
      '{"email":"d@strict.test","preferences":{"n":9007199254740993}}',
      '{"email":"e@strict.test","given_name":"\\ud800"}',
      '{"email":"f@strict.test"}',
    ]
    const heard = await send('POST', '/users/import', lines.join('\n'), 'application/x-ndjson', await tokenOf(AT))
    const rows = heard.text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(rows.slice(0, 5).map(({ status, errors }) => [status, errors?.[0]?.pointer])).toEqual([
      ['created', undefined],
      ['failed', '#/email'],
      ['failed', '#/preferences/n'],
      ['failed', '#/given_name'],
      ['created', undefined],
    ])
  })
})

describe('a limit', () => {
  it.each(['0x5', '1e2', '5.0', ' 5', '+5', '', '0b11', '１', '101', '0'])('of %j is refused', async (limit) =>
    refused(await here_get(`/users?limit=${encodeURIComponent(limit)}`), '#/query/limit'),
  )
  it('of 5 is taken', async () => expect((await here_get('/users?limit=5')).status).toBe(200))
})

describe('the password form (RFC 6749 section 3.2)', () => {
  it('ignores parameters that it does not know, and takes empty ones as left out', async () => {
    const known = new URLSearchParams({ username: 'ann', password: ann.password })
    const heard = await login(`${known}&audience=https%3A%2F%2Fx.test&resource=&scope=&grant_type=&cookie=&client_id=`)
    expect(heard.status, heard.text).toBe(200)
  })

  it.each(['; charset=utf-8', ' ; charset="UTF-8"', ';'])('is taken with %j behind its content type', async (more) => {
    const known = new URLSearchParams({ username: 'ann', password: ann.password })
    expect((await login(`${known}`, `${FORM}${more}`)).status).toBe(200)
  })

  it('refuses a parameter that is there twice', async () => {
    const known = new URLSearchParams({ username: 'ann', password: ann.password })
    expect((await login(`${known}&username=bo`)).status).toBe(400)
  })
})
