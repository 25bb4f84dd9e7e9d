import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { addPerson, type Inside, inside } from '../support/inside.ts'
import { type Heard, knock } from '../support/knock.ts'
import { call } from '../support/people.ts'
import { expectDiscreet, expectProblem, pointers } from '../support/refusal.ts'
import { copyTenant } from '../support/tenants.ts'

const PASSWORD = 'Violet-Anchor-38'
const DOOR = 'http://doorway.freehold.test/api/v1/auth/login'
const BASE = 'http://freehold.test/api/v1/auth/login'
const JSON_TYPE = 'application/json'
const FORM_TYPE = 'application/x-www-form-urlencoded'
let realm: Inside

beforeAll(async () => {
  await copyTenant('doorway')
  realm = await inside('doorway')
  await addPerson(realm, 'dana', { password: PASSWORD })
})

const post = (body: BodyInit | null, type?: string, headers: Record<string, string> = {}, url = DOOR): Promise<Heard> =>
  knock(url, { method: 'POST', headers: { ...(type !== undefined && { 'Content-Type': type }), ...headers }, body })

function expectTokens(answer: Heard) {
  expect(answer.status, answer.text).toBe(200)
  expect(Object.keys(answer.body).sort()).toEqual([
    'access_token',
    'device_token',
    'expires_in',
    'must_change_password',
    'password_expires_at',
    'password_expires_soon',
    'refresh_token',
    'token_type',
  ])
  expect(answer.body).toMatchObject({ token_type: 'Bearer', expires_in: 900, must_change_password: false })
  expect(answer.body.refresh_token).toMatch(/^[A-Za-z0-9_-]{43}$/)
  expect([answer.body.password_expires_at, answer.body.password_expires_soon]).toEqual([null, false])
  expectDiscreet(answer, PASSWORD)
}

describe('a login lets in', () => {
  it.each([
    ['the username', { username: 'dana' }],
    ['the e-mail', { email: 'dana@people.test' }],
    ['the e-mail given as username', { username: 'dana@people.test' }],
    ['upper case and spaces around', { username: '  DaNa\t' }],
    ['the e-mail in upper case with spaces around', { email: ' Dana@People.TEST\n' }],
    ['the same letters in full width', { username: 'ｄａｎａ' }],
  ])('by %s', async (_, who) => expectTokens(await post(JSON.stringify({ ...who, password: PASSWORD }), JSON_TYPE)))

  it.each([
    [
      'the OAuth 2 form',
      { grant_type: 'password', username: 'dana', password: PASSWORD, scope: 'openid', client_id: 'spa', client_secret: '' },
    ],
    ['the bare form', { username: 'dana@people.test', password: PASSWORD }],
    ['the form with spaces and upper case', { username: ' DANA ', password: PASSWORD }],
  ])('through %s', async (_, form) =>
    expectTokens(await post(new URLSearchParams(form as Record<string, string>).toString(), FORM_TYPE)),
  )

  it('through the form as multipart', async () => {
    const form = new FormData()
    form.set('username', 'dana')
    form.set('password', PASSWORD)
    expectTokens(await post(form))
  })

  const good = JSON.stringify({ username: 'dana', password: PASSWORD })
  it.each(['application/json; charset=utf-8', 'Application/JSON', 'application/json;charset=UTF-8'])(
    'with the content type %s',
    async (type) => expectTokens(await post(good, type)),
  )
  it('on the base domain, with X-Tenant', async () => expectTokens(await post(good, JSON_TYPE, { 'X-Tenant': 'doorway' }, BASE)))
  it('on the base domain, with X-Tenant in upper case', async () =>
    expectTokens(await post(good, JSON_TYPE, { 'X-Tenant': 'DoorWay' }, BASE)))
  it('with a path that ends in a slash', async () => expectTokens(await post(good, JSON_TYPE, {}, `${DOOR}/`)))
  it('whatever token of yesterday is sent along', async () =>
    expectTokens(await post(good, JSON_TYPE, { Authorization: 'Bearer of.old.times' })))

  it.each([
    ['longer than is kept', 'x'.repeat(4000)],
    ['cut in the middle of a character', `${'x'.repeat(254)}😀`],
    ['with quotes and a backslash', 'a"b\\u0000\'; drop table users; --'],
    ['empty', ''],
  ])('a device whose name is %s', async (_, agent) => expectTokens(await post(good, JSON_TYPE, { 'User-Agent': agent })))
})

describe('a login is told what is wrong with', () => {
  const long = (length: number) => 'x'.repeat(length)
  it.each<[string, unknown, string[]]>([
    ['an unknown field', { username: 'dana', password: PASSWORD, remember: true }, ['#/remember']],
    ['a field with a slash and a tilde', { username: 'dana', password: PASSWORD, 'a/b~c': 1 }, ['#/a~1b~0c']],
    ['no password', { username: 'dana' }, ['#/password']],
    ['no identifier', { password: PASSWORD }, ['#/username']],
    ['both identifiers', { username: 'dana', email: 'dana@people.test', password: PASSWORD }, ['#/username']],
    ['nothing', {}, ['#/password']],
    ['null for a password', { username: 'dana', password: null }, ['#/password']],
    ['null for an identifier', { email: null, password: PASSWORD }, ['#/email']],
    ['a number', { username: 7, password: PASSWORD }, ['#/username']],
    ['an object', { username: { $ne: null }, password: PASSWORD }, ['#/username']],
    ['a list', { username: 'dana', password: [PASSWORD] }, ['#/password']],
    ['an empty identifier', { username: '', password: PASSWORD }, ['#/username']],
    ['an empty password', { username: 'dana', password: '' }, ['#/password']],
    ['an over-long identifier', { username: long(256), password: PASSWORD }, ['#/username']],
    ['an over-long e-mail', { email: `${long(250)}@a.test`, password: PASSWORD }, ['#/email']],
    ['an over-long password', { username: 'dana', password: long(1025) }, ['#/password']],
    ['a body that is a list', [], ['#']],
    ['a body that is null', null, ['#']],
    ['a body that is text', 'dana', ['#']],
  ])('%s', async (_, body, places) => {
    const answer = await call('doorway', '/api/v1/auth/login', { raw: JSON.stringify(body) })
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual(expect.arrayContaining(places))
    expectDiscreet(answer, PASSWORD)
    expect(answer.trips).toBe(0)
  })

  it.each<[string, string, string[]]>([
    ['no password', 'username=dana', ['#/password']],
    ['two usernames', `username=dana&username=bo&password=${PASSWORD}`, ['#/username']],
    ['another grant', `grant_type=refresh_token&username=dana&password=${PASSWORD}`, ['#/grant_type']],
    ['an e-mail field, which is none of its own', `email=dana@people.test&password=${PASSWORD}`, ['#/username']],
    ['nothing', '', ['#/password', '#/username']],
  ])('a form with %s', async (_, form, places) => {
    const answer = await post(form, FORM_TYPE)
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual(places)
  })

  it.each(['{', '', '{"username":"dana","password":"x"', 'username=dana&password=x', '\u0000', '{"username":"dana",}'])(
    'malformed JSON: %j',
    async (raw) => {
      const answer = await post(raw, JSON_TYPE)
      expectProblem(answer, 400, 'invalid_request')
      expect(pointers(answer)).toEqual(['#'])
    },
  )

  it('multipart without its boundary', async () => expectProblem(await post('x', 'multipart/form-data'), 400, 'invalid_request'))
  it('no body at all', async () => {
    const answer = await post(null)
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual(['#'])
  })
  it('a body of no content type', async () =>
    expectProblem(await post(new TextEncoder().encode('{"username":"dana","password":"x"}')), 415, 'unsupported_media_type'))

  it.each([
    'text/plain',
    'application/xml',
    'application/jsonx',
    'application/vnd.api+json',
    'application/octet-stream',
    'json',
    '',
  ])('the content type %j', async (type) =>
    expectProblem(await post(JSON.stringify({ username: 'dana', password: PASSWORD }), type), 415, 'unsupported_media_type'),
  )
})

describe('a login is not overrun', () => {
  const tooLarge = JSON.stringify({ username: 'dana', password: 'x'.repeat(16 * 1024) })
  it('by a body over 16 KiB', async () => expectProblem(await post(tooLarge, JSON_TYPE), 413, 'body_too_large'))
  it('by a body over 16 KiB that does not say its length', async () => {
    const parts = new Blob([tooLarge]).stream()
    expectProblem(await post(parts, JSON_TYPE), 413, 'body_too_large')
  })
  it('nor refuses a body of just 16 KiB for its size', async () => {
    const frame = JSON.stringify({ username: 'dana', password: '' }).length
    const answer = await post(JSON.stringify({ username: 'dana', password: 'x'.repeat(16 * 1024 - frame) }), JSON_TYPE)
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual(['#/password'])
  })

  it.each([
    ['NUL in an identifier', '{"username":"da\\u0000na","password":"x"}', JSON_TYPE],
    ['NUL in an e-mail', '{"email":"da\\u0000na@people.test","password":"x"}', JSON_TYPE],
    ['NUL in a form', 'username=da%00na&password=x', FORM_TYPE],
    ['NUL in a password', '{"username":"dana-nul","password":"x\\u0000"}', JSON_TYPE],
    ['half a character in a password', '{"username":"dana-half","password":"\\udfff"}', JSON_TYPE],
    ['a bell and an escape', '{"username":"\\u0007\\u001b[31m","password":"\\u0007"}', JSON_TYPE],
    ['spaces alone', '{"username":"   ","password":"x"}', JSON_TYPE],
    ['letters that grow when normalised', `{"username":"${'ﷺ'.repeat(255)}","password":"x"}`, JSON_TYPE],
    ['bytes that are no text', 'username=%ff%fe&password=%c3%28', FORM_TYPE],
  ])('by %s', async (_, raw, type) => {
    const answer = await post(raw, type)
    expect([400, 401], answer.text).toContain(answer.status)
    expectProblem(answer, answer.status, answer.status === 400 ? 'invalid_request' : 'invalid_credentials')
  })

  it('by an identifier that is no text: half a character never reaches the database', async () => {
    const answer = await call('doorway', '/api/v1/auth/login', { raw: '{"username":"da\\ud800na","password":"x"}' })
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual(['#/username'])
  })

  it('and leaves no try hanging, whatever it was sent', async () => {
    const [row] = await realm.asOwner(sql`select count(*)::int as hanging from freehold.login_attempts where state = 'pending'`)
    expect(row).toEqual({ hanging: 0 })
  })
})
