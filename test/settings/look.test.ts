/** Threat: mails that lead their readers, with the tokens in them, to a page of somebody else; a look that runs a script. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Database, databaseOf, refusalOf } from '../support/databases.ts'
import { type Inside, inside } from '../support/inside.ts'
import { call, operatorToken } from '../support/people.ts'
import { expectProblem, pointers } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { addMember, addRole } from '../users/cast.ts'

const [AT, DEMO] = ['own-look', 'own-look-demo']
const NONE = { verify_email: null, reset_password: null, email_change: null, login: null, email_login: null, invitation: null }
let realm: Inside
let tenant: Database
let tokens: Record<string, string>

beforeAll(async () => {
  await Promise.all([copyTenant(AT), copyTenant(DEMO, { environment: 'demo' })])
  ;[realm, tenant] = [await inside(AT), await databaseOf(AT)]
  tokens = { [AT]: await tokenOf(AT), [DEMO]: await tokenOf(DEMO) }
})

const patch = (body: unknown, at = AT, more: object = {}) =>
  call(at, '/api/v1/settings', { token: tokens[at], method: 'PATCH', body, ...more })
const links = async (at = AT) => (await call(at, '/api/v1/settings', { token: tokens[at] })).body.links
const seen = async () => (await tenant.asApp(sql`select access.look(${tenant.id}) as look`))[0]?.look

describe('the name and the colour', () => {
  it('are set, shown to anybody, and taken back', async () => {
    const { body } = await patch({ name: '  Café “Ñandú” ', accent_color: '#1F4E79' })
    expect(body).toMatchObject({ name: 'Café “Ñandú”', accent_color: '#1f4e79' })
    expect(await seen()).toMatchObject({ name: 'Café “Ñandú”', accent_color: '#1f4e79', logo_etag: null, registration: false })
    expect((await patch({ name: null, accent_color: null })).body).toMatchObject({ name: null, accent_color: null })
    expect(await seen()).toMatchObject({ name: null, accent_color: null, links: {} })
  })

  it('may be as long as 70 characters, written apart too', async () => {
    for (const name of ['x'.repeat(70), 'é'.normalize('NFD').repeat(70)]) expect((await patch({ name })).status).toBe(200)
    expect((await patch({ name: null })).status).toBe(200)
  })

  it.each<[string, unknown]>([
    ['name', 'x'.repeat(71)],
    ['name', ''],
    ['name', ' '],
    ['name', '\u200b'],
    ['name', 'a\nb'],
    ['name', 7],
    ['accent_color', 'red'],
    ['accent_color', '#fff'],
    ['accent_color', '#1f4e7g'],
    ['accent_color', '#1f4e791'],
    ['accent_color', '#1f4e79;background:url(//evil.test)'],
    ['accent_color', 'var(--x)'],
    ['accent_color', ''],
  ])('refuse %s: %j, and say where', async (field, value) => {
    const answer = await patch({ [field]: value })
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual([`#/${field}`])
  })

  it('are recorded as other settings are', async () => {
    await patch({ name: 'Recorded' })
    const [entry] = await realm.asOwner(
      sql`select d.before, d.after from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id where l.activity_type = 'TENANT_UPDATED' order by l.at desc limit 1`,
    )
    expect(entry).toEqual({ before: { name: null }, after: { name: 'Recorded' } })
    await patch({ name: null })
  })
})

describe('links', () => {
  const RIGHT = 'https://app.own-look.test/reset?lang=es'

  it('are merged one by one, and null takes one away, or all', async () => {
    expect((await patch({ links: { reset_password: RIGHT, login: 'https://app.own-look.test' } })).body.links).toEqual({
      ...NONE,
      reset_password: RIGHT,
      login: 'https://app.own-look.test',
    })
    expect((await patch({ links: { login: null, verify_email: 'https://[2001:db8::1]:8443/v' } })).body.links).toEqual({
      ...NONE,
      reset_password: RIGHT,
      verify_email: 'https://[2001:db8::1]:8443/v',
    })
    expect((await seen()).links).toEqual({ reset_password: RIGHT, verify_email: 'https://[2001:db8::1]:8443/v' })
    expect((await patch({ links: {} })).body.links).toMatchObject({ reset_password: RIGHT })
    expect((await patch({ links: null })).body.links).toEqual(NONE)
  })

  it.each<[string, string]>([
    ['javascript:alert(1)', 'must be an address such as https://app.example.com/verify'],
    ['data:text/html,x', 'must be an address such as https://app.example.com/verify'],
    ['//app.test', 'must be an address such as https://app.example.com/verify'],
    ['/reset', 'must be an address such as https://app.example.com/verify'],
    ['https:app.test', 'must be an address such as https://app.example.com/verify'],
    ['https:///app.test', 'must be an address such as https://app.example.com/verify'],
    ['https:\\\\app.test', 'must be an address such as https://app.example.com/verify'],
    ['https://app.test/ x', 'must be an address such as https://app.example.com/verify'],
    ['https://app.test/"onclick=', 'must be an address such as https://app.example.com/verify'],
    ['https://аpp.test', 'must be an address such as https://app.example.com/verify'],
    ['https://app.test:99999', 'must be an address such as https://app.example.com/verify'],
    ['https://bo@app.test', 'must hold no user name and no password'],
    ['https://bo:secret@app.test', 'must hold no user name and no password'],
    ['https://app.test/#', 'must have no fragment: the token is put there'],
    ['https://app.test/#token=x', 'must have no fragment: the token is put there'],
    ['http://app.test', 'must begin with https://'],
    ['http://localhost.app.test', 'must begin with https://'],
    ['http://localhost:3000/reset', 'must begin with https://: http on localhost is for demo tenants'],
    ['http://acme.localhost:3000', 'must begin with https://: http on localhost is for demo tenants'],
  ])('refuse %s, and say where and what', async (link, detail) => {
    const answer = await patch({ links: { reset_password: link, login: RIGHT } })
    expectProblem(answer, 400, 'invalid_request')
    expect(answer.body.errors).toEqual([{ pointer: '#/links/reset_password', detail }])
    const spanish = await patch({ links: { reset_password: link } }, AT, { headers: { 'Accept-Language': 'es' } })
    expect(spanish.body.errors[0].detail).not.toBe(detail)
    expect(await links()).toEqual(NONE)
  })

  it.each<[unknown, string]>([
    [{ reset_password: 7 }, '#/links/reset_password'],
    [{ reset_password: '' }, '#/links/reset_password'],
    [{ reset_password: [RIGHT] }, '#/links/reset_password'],
    [{ reset_password: `https://app.test/${'x'.repeat(500)}` }, '#/links/reset_password'],
    [{ unheard_of: RIGHT }, '#/links/unheard_of'],
    [RIGHT, '#/links'],
    [[RIGHT], '#/links'],
  ])('refuse %j', async (wrong, pointer) => {
    const answer = await patch({ links: wrong })
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual([pointer])
  })

  it('may lead to http on localhost, and nowhere else, for a tenant that is a demo', async () => {
    const local = { reset_password: 'http://localhost:3000/reset', login: 'http://acme.localhost:5173' }
    expect((await patch({ links: local }, DEMO)).body.links).toMatchObject(local)
    expect(pointers(await patch({ links: { verify_email: 'http://127.0.0.1:3000' } }, DEMO))).toEqual(['#/links/verify_email'])
  })

  it('are set by nobody who could become somebody by it: changing settings is not enough', async () => {
    await addRole(realm, 'janitor', ['setting:read', 'setting:update'], 'all')
    const janitor = await addMember(realm, 'jan', { roles: ['janitor'] })
    const refused = await patch({ links: { reset_password: 'https://evil.test' } }, AT, { token: janitor.token })
    expectProblem(refused, 403, 'forbidden')
    expect(refused.body.detail).toContain('every permission at scope all')
    expect((await patch({ name: 'By Jan' }, AT, { token: janitor.token })).status).toBe(200)
    await patch({ links: { reset_password: RIGHT } })
    // What is there already may be sent again, and taken away.
    expect((await patch({ links: { reset_password: RIGHT } }, AT, { token: janitor.token })).status).toBe(200)
    expect((await patch({ links: { reset_password: null } }, AT, { token: janitor.token })).body.links).toEqual(NONE)
    await patch({ name: null })
  })

  it('are set by no key of an administrator that may less than they', async () => {
    const body = { name: 'settings', permissions: ['setting:read', 'setting:update'] }
    const { key } = (await call(AT, '/api/v1/api-keys', { token: tokens[AT], body })).body
    const asKey = (links: object) =>
      call(AT, '/api/v1/settings', { method: 'PATCH', body: { links }, headers: { 'X-API-Key': key } })
    expectProblem(await asKey({ login: 'https://evil.test' }), 403, 'forbidden')
    expect(await links()).toEqual(NONE)
  })

  it('of twenty changes at once are all kept', async () => {
    const names = ['verify_email', 'reset_password', 'email_change', 'login', 'email_login', 'invitation']
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) => patch({ links: { [names[i % 6] ?? '']: `https://app.test/${names[i % 6]}` } })),
    )
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
    expect(await links()).toEqual(Object.fromEntries(names.map((name) => [name, `https://app.test/${name}`])))
    await patch({ links: null })
  })

  it('are refused by whatever else is wrong of the request, and nothing of it is done', async () => {
    expectProblem(await patch({ links: { login: RIGHT }, name: 'x' }, AT, { token: tokens[DEMO] }), 401, 'token_wrong_tenant')
    expectProblem(await patch({ links: { login: RIGHT } }, AT, { token: undefined }), 401, 'token_missing')
    expect(await links()).toEqual(NONE)
  })
})

describe('the look', () => {
  it('says what a page needs, and no other setting', async () => {
    const shown = ['accent_color', 'email_login', 'links', 'logo_etag', 'name', 'policy', 'providers', 'registration']
    expect(Object.keys(await seen()).sort()).toEqual(shown)
    expect((await seen()).policy).toMatchObject({ password_min_length: 12, password_common: true })
  })

  it('is that of one tenant: the id of another is refused', async () => {
    const { id } = await databaseOf(DEMO)
    expect(await refusalOf(tenant.app_url, sql`select access.look(${id})`)).toBe('FH503 wrong_tenant')
    expect(await refusalOf(tenant.app_url, sql`select access.logo(${id})`)).toBe('FH503 wrong_tenant')
  })
})

it('the platform has a name and links of its own', async () => {
  const token = await operatorToken()
  const { body } = await call('', '/platform/v1/settings', { token })
  expect(body).toMatchObject({ name: null, links: NONE })
})
