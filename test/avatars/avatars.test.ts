/**
 * Threat: a picture that is a script, unpacks to gigabytes, or tells where it was taken; somebody else's picture that is changed, or
 * shown to whoever may not read its owner; objects that nobody shows and nobody deletes.
 */
import { env, exports } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import { colourOf } from '../../src/avatars/initials.ts'
import { imageOf } from '../../src/settings/image.ts'
import { jpegOf, PNG, pngOf, SVG, webpOf } from '../settings/images.ts'
import { maintainLater } from '../support/databases.ts'
import { type Inside, inside, type Person } from '../support/inside.ts'
import { call } from '../support/people.ts'
import { expectProblem, pointers } from '../support/refusal.ts'
import { plantSession, tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { addMember, addRole, addUnit } from '../users/cast.ts'
import { ANIMATED, animatedWebp, jpegPicture, pngPicture, textChunk, webpPicture } from './pictures.ts'

type Bytes = Uint8Array<ArrayBuffer>
const [AT, OTHER] = ['with-avatars', 'with-no-avatars']
const MIB = 1024 * 1024
const files = (env as unknown as { FILES: R2Bucket }).FILES
let realm: Inside
let admin: string
let cy: Person & { token: string }
let picture: Bytes

beforeAll(async () => {
  await Promise.all([copyTenant(AT), copyTenant(OTHER)])
  realm = await inside(AT)
  await maintainLater(realm.id)
  admin = await tokenOf(AT)
  cy = await addMember(realm, 'cy')
  picture = await pngPicture(300, 200)
})

const of = (id: string) => `/api/v1/users/${id}/avatar`
const OWN = '/api/v1/auth/me/avatar'
const put = (path: string, raw: Bytes, token: string, type = 'image/png', more: object = {}) =>
  call(AT, path, { token, method: 'PUT', raw, ...more, headers: { 'Content-Type': type } })
const remove = (path: string, token: string) => call(AT, path, { token, method: 'DELETE' })
/** The bytes; `call` reads text. */
const shown = (path: string, token: string, init: { headers?: Record<string, string>; at?: string } = {}) =>
  exports.default.fetch(`http://${init.at ?? AT}.freehold.test${path}`, {
    headers: { Authorization: `Bearer ${token}`, ...init.headers },
  })
const bytesOf = async (response: Response) => new Uint8Array(await response.arrayBuffer())
const objects = async (user_id: string, tenant_id = realm.id) =>
  (await files.list({ prefix: `avatars/${tenant_id}/${user_id}/` })).objects.map(({ key }) => key).sort()
const versionOf = async (id: string) =>
  (await realm.asOwner(sql`select u.avatar from freehold.users u where u.id = ${id}`))[0]?.avatar as string | null
const keysOf = (id: string, version: string | null) => ['256', '64'].map((size) => `avatars/${realm.id}/${id}/${version}-${size}`)
/** What is deleted after the answer is gone a moment later. */
const settled = (id: string, keys: string[]) =>
  vi.waitFor(async () => expect(await objects(id)).toEqual(keys), { timeout: 10_000 })

describe('a picture', () => {
  it.each<[string, () => Promise<Bytes>]>([
    ['image/png', () => pngPicture(300, 200)],
    ['image/jpeg', () => jpegPicture(640, 480)],
    ['image/webp', () => webpPicture(90, 120)],
  ])('of %s is shown as a WebP of 256 and of 64 pixels', async (type, make) => {
    const set = await put(OWN, await make(), cy.token, type)
    expect([set.status, set.trips], JSON.stringify(set.body)).toEqual([200, 1])
    expect(set.body).toMatchObject({ id: cy.id, avatar: expect.stringMatching(/^[0-9a-f]{32}$/) })
    for (const size of [256, 64]) {
      const response = await shown(`${OWN}?size=${size}`, cy.token)
      expect([response.status, response.headers.get('Content-Type')]).toEqual([200, 'image/webp'])
      expect(imageOf(await bytesOf(response))).toEqual({ content_type: 'image/webp', width: size, height: size })
    }
    await settled(cy.id, keysOf(cy.id, set.body.avatar))
  })

  it('is named by users, me and whoami, and of others shown to whoever may read them, in one round trip', async () => {
    const { body } = await put(OWN, picture, cy.token)
    const who = await Promise.all([
      call(AT, `/api/v1/users/${cy.id}`, { token: admin }),
      call(AT, '/api/v1/auth/me', { token: cy.token }),
      call(AT, '/api/v1/auth/whoami', { token: cy.token }),
      call(AT, '/api/v1/users/me', { token: cy.token }),
    ])
    expect(who.map((answer) => answer.body.avatar)).toEqual(Array(4).fill(body.avatar))
    const listed = await call(AT, '/api/v1/users?search=cy', { token: admin })
    expect(listed.body.data[0]).toMatchObject({ username: 'cy', avatar: body.avatar })
    const seen = await call(AT, of(cy.id), { token: admin })
    expect([seen.status, seen.trips]).toEqual([200, 1])
    expect(seen.headers.get('ETag')).toBe(`"${body.avatar}-256"`)
  })

  it('is kept by browsers, which ask before each use', async () => {
    const { body } = await put(OWN, picture, cy.token)
    const response = await shown(OWN, cy.token)
    await response.body?.cancel()
    expect(Object.fromEntries(response.headers)).toMatchObject({
      etag: `"${body.avatar}-256"`,
      'cache-control': 'private, no-cache, no-transform',
      vary: expect.stringContaining('Cookie'),
      'x-content-type-options': 'nosniff',
      'content-security-policy': expect.stringMatching(/^default-src 'none'/),
    })
    const again = await shown(OWN, cy.token, { headers: { 'If-None-Match': `"${body.avatar}-256"` } })
    expect([again.status, (await bytesOf(again)).length]).toEqual([304, 0])
    const other = await shown(`${OWN}?size=64`, cy.token, { headers: { 'If-None-Match': `"${body.avatar}-256"` } })
    expect(other.status).toBe(200)
    await other.body?.cancel()
    const head = await exports.default.fetch(`http://${AT}.freehold.test${OWN}`, {
      method: 'HEAD',
      headers: { Authorization: `Bearer ${cy.token}` },
    })
    expect([head.status, head.headers.get('ETag')]).toEqual([200, `"${body.avatar}-256"`])
  })

  it('is shown to a page of the tenant by its cookie alone', async () => {
    await put(OWN, picture, cy.token)
    const { access_token, user_id } = await plantSession(AT, 'cy')
    const headers = { Cookie: `__Host-fh_a_${user_id}=${access_token}`, 'Sec-Fetch-Site': 'same-origin' }
    const response = await exports.default.fetch(`http://${AT}.freehold.test${OWN}`, { headers })
    expect([response.status, response.headers.get('Content-Type')]).toEqual([200, 'image/webp'])
    await response.body?.cancel()
    const sibling = await exports.default.fetch(`http://${AT}.freehold.test${OWN}`, {
      headers: { ...headers, 'Sec-Fetch-Site': 'same-site' },
    })
    expect(sibling.status).toBe(403)
    await sibling.body?.cancel()
  })

  it('tells nothing of what the camera noted', async () => {
    const note = 'Zaragozza 41.6488N 0.8891W'
    const taken = await jpegPicture(400, 300, note)
    const holds = (bytes: Uint8Array) => new TextDecoder('latin1').decode(bytes).includes('Zaragozza')
    expect(holds(taken)).toBe(true)
    expect((await put(OWN, taken, cy.token, 'image/jpeg')).status).toBe(200)
    expect(holds(await bytesOf(await shown(OWN, cy.token)))).toBe(false)
    const png = await pngPicture(64, 64, { more: [textChunk(note)] })
    expect((await put(OWN, png, cy.token)).status).toBe(200)
    const made = await bytesOf(await shown(OWN, cy.token))
    expect([holds(png), holds(made), /EXIF|XMP /.test(new TextDecoder('latin1').decode(made))]).toEqual([true, false, false])
  })

  it('is removed once, and initials are shown again', async () => {
    await put(OWN, picture, cy.token)
    const answers = await Promise.all(Array.from({ length: 20 }, () => remove(OWN, cy.token)))
    expect(answers.map(({ status }) => status).sort()).toEqual([204, ...Array(19).fill(404)])
    expect(await versionOf(cy.id)).toBeNull()
    await settled(cy.id, [])
    const response = await shown(OWN, cy.token)
    expect(response.headers.get('Content-Type')).toBe('image/svg+xml')
    expect(await response.text()).toMatch(/>[A-Z]{2}<\/text>/)
  })

  it('of twenty at once is the last, and no object of the others is left', async () => {
    const pictures = await Promise.all(Array.from({ length: 20 }, (_, i) => pngPicture(10 + i, 10, { colour: [i * 10, 0, 0] })))
    const answers = await Promise.all(pictures.map((each) => put(OWN, each, cy.token)))
    expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200))
    const version = await versionOf(cy.id)
    expect(answers.map(({ body }) => body.avatar)).toContain(version)
    await settled(cy.id, keysOf(cy.id, version))
    expect((await shown(OWN, cy.token)).headers.get('Content-Type')).toBe('image/webp')
  })

  it('that is gone from where pictures are is initials, and no failure', async () => {
    const { body } = await put(OWN, picture, cy.token)
    await files.delete(keysOf(cy.id, body.avatar))
    const response = await shown(OWN, cy.token)
    expect([response.status, response.headers.get('Content-Type')]).toEqual([200, 'image/svg+xml'])
    await response.body?.cancel()
  })
})

describe('without a picture', () => {
  it('initials are drawn on the colour of the sub, with an entity tag', async () => {
    const di = await addMember(realm, 'di')
    await realm.asOwner(sql`update freehold.users set given_name = '<Di>', family_name = '&Ox' where id = ${di.id}`)
    const response = await shown(of(di.id), admin)
    const text = await response.text()
    expect(text).toMatch(/^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg" width="256" height="256"/)
    expect(text).toContain(`fill="${colourOf(di.id)}"`)
    expect(text).toContain('>DO</text>')
    expect(text).not.toMatch(/script|style|href|url\(|<Di|&/i)
    const again = await shown(of(di.id), admin, { headers: { 'If-None-Match': String(response.headers.get('ETag')) } })
    expect(again.status).toBe(304)
    await realm.asOwner(sql`update freehold.users set given_name = 'Zoe' where id = ${di.id}`)
    expect((await shown(of(di.id), admin)).headers.get('ETag')).not.toBe(response.headers.get('ETag'))
  })
})

describe('whose picture it is', () => {
  it('an administrator sets and removes that of a user; it is recorded', async () => {
    const ed = await addMember(realm, 'ed')
    const set = await put(of(ed.id), picture, admin)
    expect([set.status, set.trips], JSON.stringify(set.body)).toEqual([200, 1])
    expect((await remove(of(ed.id), admin)).status).toBe(204)
    expectProblem(await remove(of(ed.id), admin), 404, 'not_found')
    const details = await realm.asOwner(
      sql`select d.after ->> 'avatar' as avatar from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id
        where l.resource_type = 'user' and l.resource_id = ${ed.id} and l.activity_type <> 'USER_CREATED' and d.after ? 'avatar' order by l.at`,
    )
    expect(details.map(({ avatar }) => avatar).slice(-2)).toEqual([set.body.avatar, null])
  })

  it('within a team is changed by who may update the team, and of others nothing is found and nothing is kept', async () => {
    const [near, far] = [await addUnit(realm, 'team', 'near'), await addUnit(realm, 'team', 'far')]
    await addRole(realm, 'team-lead', ['user:read', 'user:update'], 'team')
    const lead = await addMember(realm, 'fay', { roles: ['team-lead'], unit_id: near })
    const [hers, not_hers] = [await addMember(realm, 'gil', { unit_id: near }), await addMember(realm, 'hal', { unit_id: far })]
    expect((await put(of(hers.id), picture, lead.token)).status).toBe(200)
    expect((await put(of(lead.id), picture, lead.token)).status).toBe(200)
    expectProblem(await put(of(not_hers.id), picture, lead.token), 404, 'not_found')
    expectProblem(await remove(of(not_hers.id), lead.token), 404, 'not_found')
    expectProblem(await call(AT, of(not_hers.id), { token: lead.token }), 404, 'not_found')
    await settled(not_hers.id, [])
  })

  it('is nothing for somebody without the permission, but their own', async () => {
    const ivy = await addMember(realm, 'ivy')
    await put(of(cy.id), picture, admin)
    for (const answer of [
      await call(AT, of(cy.id), { token: ivy.token }),
      await put(of(cy.id), picture, ivy.token),
      await remove(of(cy.id), ivy.token),
    ])
      expect([403, 404]).toContain(answer.status)
    const kept = await versionOf(cy.id)
    expect(kept).not.toBeNull()
    await settled(cy.id, keysOf(cy.id, kept))
    expect((await put(OWN, picture, ivy.token)).status).toBe(200)
    expect((await call(AT, OWN, { token: ivy.token })).status).toBe(200)
  })

  it('is of one tenant: with a token of another, with none and with one that has ended there is none', async () => {
    await put(OWN, picture, cy.token)
    const [stranger, elsewhere] = [await tokenOf(OTHER), await inside(OTHER)]
    expectProblem(await call(OTHER, of(cy.id), { token: stranger }), 404, 'not_found')
    expectProblem(
      await call(OTHER, of(cy.id), { token: stranger, method: 'PUT', raw: picture, headers: { 'Content-Type': 'image/png' } }),
      404,
      'not_found',
    )
    await vi.waitFor(async () => expect(await objects(cy.id, elsewhere.id)).toEqual([]), { timeout: 10_000 })
    for (const path of [OWN, of(cy.id)]) {
      expectProblem(await call(AT, path, { token: stranger }), 401, 'token_wrong_tenant')
      expectProblem(await put(path, picture, stranger), 401, 'token_wrong_tenant')
      expectProblem(await call(AT, path), 401, 'token_missing')
      expectProblem(
        await call(AT, path, { method: 'PUT', raw: picture, headers: { 'Content-Type': 'image/png' } }),
        401,
        'token_missing',
      )
    }
    const ended = await plantSession(AT, 'cy')
    await realm.asOwner(
      sql`update freehold.sessions set ended_at = now(), ended_because = 'logout' where id = ${ended.session_id}`,
    )
    const before = await versionOf(cy.id)
    expectProblem(await put(OWN, picture, ended.access_token), 401, 'session_ended')
    await settled(cy.id, keysOf(cy.id, before))
  })
})

describe('no picture is', () => {
  const refused = async (raw: Bytes, type = 'image/png') => {
    const before = await versionOf(cy.id)
    const answer = await put(OWN, raw, cy.token, type)
    expect(await versionOf(cy.id)).toBe(before)
    return answer
  }
  const bytes = (text: string): Bytes => Uint8Array.from(new TextEncoder().encode(text))
  const html = bytes('<!doctype html><script>alert(1)</script>')

  it.each<[string, Bytes, string]>([
    ['HTML that is called a PNG', html, 'image/png'],
    ['an SVG that is called a PNG', SVG, 'image/png'],
    ['an SVG', SVG, 'image/svg+xml'],
    ['a GIF', bytes('GIF89a'), 'image/gif'],
    ['a PNG that is called a JPEG', PNG, 'image/jpeg'],
    ['JSON', bytes('{}'), 'application/json'],
    ['nothing', new Uint8Array(), 'image/png'],
  ])('%s', async (_, raw, type) => {
    expectProblem(await refused(raw, type), 415, 'unsupported_media_type')
  })

  it.each<[string, () => Bytes | Promise<Bytes>, string, string]>([
    [
      'a PNG of 10,000 pixels',
      () => pngPicture(10_000, 1),
      'image/png',
      'must be at most 8192 pixels wide and high: it is 10000 by 1',
    ],
    [
      'a bomb',
      () => pngPicture(1, 1, { said: { width: 8192, height: 8192 } }),
      'image/png',
      'must have at most 40 megapixels: it is 8192 by 8192',
    ],
    [
      'a JPEG bomb',
      () => jpegOf(65_000, 65_000),
      'image/jpeg',
      'must be at most 8192 pixels wide and high: it is 65000 by 65000',
    ],
    [
      'a WebP bomb',
      () => webpOf(16_383, 16_383),
      'image/webp',
      'must be at most 8192 pixels wide and high: it is 16383 by 16383',
    ],
    ['an animated PNG', () => pngPicture(9, 9, { more: [ANIMATED] }), 'image/png', 'must not be animated'],
    ['an animated WebP', () => animatedWebp(), 'image/webp', 'must not be animated'],
    ['half a PNG', async () => (await pngPicture(300, 200)).slice(0, -30), 'image/png', 'is cut off or broken'],
    ['the header of a PNG', () => pngOf(10, 10), 'image/png', 'is cut off or broken'],
    ['half a JPEG', async () => (await jpegPicture(300, 200)).slice(0, -40), 'image/jpeg', 'is cut off or broken'],
    ['half a WebP', async () => (await webpPicture(300, 200)).slice(0, -40), 'image/webp', 'is cut off or broken'],
    ['a JPEG without pixels', () => jpegOf(10, 10), 'image/jpeg', 'is cut off or broken'],
    [
      'a PNG with fewer pixels than it says',
      () => pngPicture(2, 2, { said: { width: 200, height: 200 } }),
      'image/png',
      'is cut off or broken',
    ],
  ])('%s', async (_, make, type, detail) => {
    const answer = await refused(await make(), type)
    expectProblem(answer, 400, 'invalid_request')
    expect([pointers(answer), answer.body.errors[0].detail]).toEqual([['#'], detail])
  })

  it('a byte more than 2 MiB; 2 MiB are one', async () => {
    const room = 2 * MIB - picture.length - 12 - 8
    const large = await pngPicture(300, 200, { more: [textChunk('x'.repeat(room))] })
    expect(large.length).toBe(2 * MIB)
    expect((await put(OWN, large, cy.token)).status).toBe(200)
    const more = await pngPicture(300, 200, { more: [textChunk('x'.repeat(room + 1))] })
    const answer = await refused(more)
    expectProblem(answer, 413, 'body_too_large')
    expect(answer.body.detail).toBe('Send at most 2048 KiB.')
  })

  it('what is said in another language is said in Spanish', async () => {
    const spanish = await call(AT, OWN, {
      token: cy.token,
      method: 'PUT',
      raw: await pngPicture(9, 9, { more: [ANIMATED] }),
      headers: { 'Content-Type': 'image/png', 'Accept-Language': 'es' },
    })
    expect(spanish.body.errors[0].detail).toBe('no debe estar animada')
  })

  it.each(['?size=128', '?size=256&v=1', '?size='])('shown at %s', async (query) => {
    expectProblem(await call(AT, `${OWN}${query}`, { token: cy.token }), 400, 'invalid_request')
  })

  it('of an id that is none, or of nobody', async () => {
    expectProblem(await put(of('x'), picture, admin), 400, 'invalid_request')
    expectProblem(await put(of(crypto.randomUUID()), picture, admin), 404, 'not_found')
    expectProblem(await call(AT, of(crypto.randomUUID()), { token: admin }), 404, 'not_found')
  })
})
