/** Threat: a logo that is a script, is larger than it says, or is changed by who may not; one tenant that shows another's. */
import { exports } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Inside, inside } from '../support/inside.ts'
import { call } from '../support/people.ts'
import { expectProblem, pointers } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { addMember, addRole } from '../users/cast.ts'
import { jpegOf, PNG, pngOf, SVG, WEBP_LOSSY, webpOf } from './images.ts'

const [AT, OTHER] = ['with-a-logo', 'with-no-logo']
const KIB = 1024
let realm: Inside
let admin: string

beforeAll(async () => {
  await Promise.all([copyTenant(AT), copyTenant(OTHER)])
  realm = await inside(AT)
  admin = await tokenOf(AT)
})

const put = (raw: Uint8Array<ArrayBuffer>, type = 'image/png', more: object = {}) =>
  call(AT, '/api/v1/settings/logo', { token: admin, method: 'PUT', raw, headers: { 'Content-Type': type }, ...more })
const remove = (more: object = {}) => call(AT, '/api/v1/settings/logo', { token: admin, method: 'DELETE', ...more })
/** The bytes that a browser is sent; `call` reads text. */
const shown = (at = AT, init: RequestInit = {}) => exports.default.fetch(`http://${at}.freehold.test/logo`, init)
const bytesOf = async (response: Response) => new Uint8Array(await response.arrayBuffer())
const kept = async () => (await realm.asOwner(sql`select content_type, width, height from freehold.logo`)) as object[]

describe('a logo', () => {
  it.each<[string, Uint8Array<ArrayBuffer>, number, number]>([
    ['image/png', PNG, 1, 1],
    ['image/png', pngOf(1024, 1024, 64 * KIB - 33), 1024, 1024],
    ['image/jpeg', jpegOf(640, 480), 640, 480],
    ['image/webp', WEBP_LOSSY, 1, 1],
  ])('of %s is kept as it was sent, and shown to anybody as that and nothing else', async (type, image, width, height) => {
    const set = await put(image, type)
    expect([set.status, set.body]).toEqual([
      200,
      { content_type: type, width, height, etag: expect.stringMatching(/^[0-9a-f]{64}$/) },
    ])
    const response = await shown()
    expect([response.status, await bytesOf(response)]).toEqual([200, image])
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'content-type': type,
      etag: `"${set.body.etag}"`,
      'cache-control': 'public, max-age=300, no-transform',
      'x-content-type-options': 'nosniff',
      'cross-origin-resource-policy': 'cross-origin',
      vary: expect.stringContaining('X-Tenant'),
    })
    expect(response.headers.get('Content-Security-Policy')).toMatch(/^default-src 'none'/)
    const again = await shown(AT, { headers: { 'If-None-Match': `"${set.body.etag}"` } })
    expect([again.status, (await bytesOf(again)).length]).toEqual([304, 0])
    const head = await shown(AT, { method: 'HEAD' })
    expect([head.status, head.headers.get('ETag')]).toEqual([200, `"${set.body.etag}"`])
  })

  it('is one round trip to set and one to show', async () => {
    expect((await put(PNG)).trips).toBe(1)
    expect((await call(AT, '/logo')).trips).toBe(1)
  })

  it('of one tenant is not that of another, and of a tenant that has none is a 404', async () => {
    await put(PNG)
    expectProblem(await call(OTHER, '/logo'), 404, 'not_found')
    expect((await call('', '/logo', { tenant: AT })).status).toBe(200)
    expectProblem(await call('', '/logo', { tenant: OTHER }), 404, 'not_found')
    expectProblem(await call('', '/logo'), 400, 'tenant_required')
  })

  it('is removed once', async () => {
    await put(PNG)
    const answers = await Promise.all(Array.from({ length: 20 }, () => remove()))
    expect(answers.map(({ status }) => status).sort()).toEqual([204, ...Array(19).fill(404)])
    expectProblem(await call(AT, '/logo'), 404, 'not_found')
    expectProblem(await remove(), 404, 'not_found')
  })

  it('of twenty at once is one of them, whole', async () => {
    await Promise.all(Array.from({ length: 20 }, (_, i) => put(pngOf(1 + i, 1, 100))))
    expect(await kept()).toHaveLength(1)
    const etag = (await shown()).headers.get('ETag')
    const again = await put(await bytesOf(await shown()))
    expect(`"${again.body.etag}"`).toBe(etag)
  })

  it('is recorded, without its bytes', async () => {
    await put(PNG)
    await put(WEBP_LOSSY, 'image/webp')
    await remove()
    const entries = await realm.asOwner(
      sql`select l.activity_type, l.user_id is not null as by_somebody, d.before, d.after from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id where l.resource_type = 'logo' order by l.at desc limit 2`,
    )
    expect(entries.map(({ activity_type, by_somebody }) => [activity_type, by_somebody])).toEqual([
      ['LOGO_DELETED', true],
      ['LOGO_UPDATED', true],
    ])
    expect(entries[1]?.after).toMatchObject({ content_type: 'image/webp', content: '***' })
  })
})

describe('no logo is', () => {
  it('an SVG, whatever it is called', async () => {
    const answer = await put(SVG, 'image/svg+xml')
    expectProblem(answer, 415, 'unsupported_media_type')
    expect(answer.body.detail).toBe('Send image/png, image/jpeg, image/webp.')
    const disguised = await put(SVG, 'image/png')
    expectProblem(disguised, 415, 'unsupported_media_type')
    expect(disguised.body.detail).toBe('The bytes are no image of these types: send image/png, image/jpeg, image/webp.')
    const spanish = await put(SVG, 'image/png', { headers: { 'Content-Type': 'image/png', 'Accept-Language': 'es' } })
    expect(spanish.body.detail).toBe('Los bytes no son una imagen de estos tipos: envía image/png, image/jpeg, image/webp.')
  })

  it.each<[string, Uint8Array<ArrayBuffer>, string, string]>([
    ['a PNG over the bytes of a WebP', WEBP_LOSSY, 'image/png', 'The bytes are image/webp, and not image/png.'],
    ['a JPEG over the bytes of a PNG', PNG, 'image/jpeg', 'The bytes are image/png, and not image/jpeg.'],
  ])('%s', async (_, bytes, type, detail) => {
    const answer = await put(bytes, type)
    expectProblem(answer, 415, 'unsupported_media_type')
    expect(answer.body.detail).toBe(detail)
  })

  it.each([
    'text/html',
    'application/json',
    'application/octet-stream',
    'multipart/form-data; boundary=x',
    'image/gif',
    'image/*',
  ])('sent as %s', async (type) => expectProblem(await put(PNG, type), 415, 'unsupported_media_type'))

  it.each<[string, Uint8Array<ArrayBuffer>, string]>([
    ['1025 wide', pngOf(1025, 1), 'image/png'],
    ['1025 high', jpegOf(1, 1025), 'image/jpeg'],
    ['enormous', webpOf(16_384, 16_384), 'image/webp'],
  ])('%s', async (_, bytes, type) => {
    const answer = await put(bytes, type)
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual(['#'])
    expect(answer.body.errors[0].detail).toMatch(/^must be at most 1024 pixels wide and high: it is \d+ by \d+$/)
  })

  it.each([
    ['a byte too large', 64 * KIB + 1],
    ['of 1 MiB', KIB * KIB],
    ['of 10 MB', 10_000_000],
  ])('%s', async (_, size) => {
    const answer = await put(pngOf(10, 10, size - 33))
    expectProblem(answer, 413, 'body_too_large')
    expect(answer.body.detail).toBe('Send at most 64 KiB.')
  })

  it('empty, cut off, or encoded', async () => {
    expectProblem(await put(new Uint8Array()), 415, 'unsupported_media_type')
    expectProblem(await put(new Uint8Array(PNG.subarray(0, 20))), 415, 'unsupported_media_type')
    const headers = { 'Content-Type': 'image/png', 'Content-Encoding': 'gzip' }
    expectProblem(await put(PNG, 'image/png', { headers }), 415, 'unsupported_media_type')
  })
})

describe('the logo is changed', () => {
  it('by nobody without a token, with one of another tenant, or without the permission', async () => {
    await put(PNG)
    const cy = await addMember(realm, 'cy')
    await addRole(realm, 'onlooker', ['setting:read'], 'all')
    const onlooker = await addMember(realm, 'dee', { roles: ['onlooker'] })
    const next = await tokenOf(OTHER)
    for (const [token, status, code] of [
      [undefined, 401, 'token_missing'],
      ['a.b.c', 401, 'token_invalid'],
      [next, 401, 'token_wrong_tenant'],
      [cy.token, 403, 'forbidden'],
      [onlooker.token, 403, 'forbidden'],
    ] as const) {
      expectProblem(await put(WEBP_LOSSY, 'image/webp', { token }), status, code)
      expectProblem(await remove({ token }), status, code)
    }
    expect(await kept()).toEqual([{ content_type: 'image/png', width: 1, height: 1 }])
  })

  it('by nobody whose permission reaches a team and not the tenant', async () => {
    await put(PNG)
    await addRole(realm, 'decorator', ['setting:update'], 'team')
    const decorator = await addMember(realm, 'eli', { roles: ['decorator'] })
    expectProblem(await put(WEBP_LOSSY, 'image/webp', { token: decorator.token }), 403, 'forbidden')
    expectProblem(await remove({ token: decorator.token }), 403, 'forbidden')
    expect(await kept()).toEqual([{ content_type: 'image/png', width: 1, height: 1 }])
  })

  it('by who may change the settings, who need not be an administrator', async () => {
    await addRole(realm, 'keeper', ['setting:update'], 'all')
    const keeper = await addMember(realm, 'fay', { roles: ['keeper'] })
    expect((await put(WEBP_LOSSY, 'image/webp', { token: keeper.token })).status).toBe(200)
    expect((await remove({ token: keeper.token })).status).toBe(204)
  })
})
