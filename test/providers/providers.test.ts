/**
 * The settings of providers. Threat: by a provider, somebody who may change settings becomes whom they like, hands out roles that they do not
 * hold, or has the Worker ask hosts inside of a network; or reads the secret of a client.
 */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { faultOfIssuer, faultOfUrl } from '../../src/providers/urls.ts'
import { databaseOf, settings } from '../support/databases.ts'
import { type Inside, inside } from '../support/inside.ts'
import { call } from '../support/people.ts'
import { expectDiscreet, expectProblem } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { addMember, addRole } from '../users/cast.ts'

const AT = 'provider-settings'
const PATH = '/api/v1/settings/providers'
let realm: Inside
let admin: string
/** Somebody who may change settings, and little else. */
let setter: string

beforeAll(async () => {
  await Promise.all([copyTenant(AT), copyTenant('provider-settings-too')])
  realm = await inside(AT)
  admin = await tokenOf(AT)
  await addRole(realm, 'sets', ['setting:read', 'setting:update'], 'all')
  setter = (await addMember(realm, 'setter', { roles: ['sets'] })).token
})

let made = 0
const wanted = (more: object = {}) => ({
  name: `p-${made++}`,
  type: 'oidc',
  issuer: 'https://id.acme.example',
  client_id: 'client',
  label: 'Acme',
  ...more,
})
const add = (more: object = {}, token = admin) => call(AT, PATH, { token, body: wanted(more) })
const patch = (id: string, body: object, token = admin, headers: Record<string, string> = {}) =>
  call(AT, `${PATH}/${id}`, { token, method: 'PATCH', body, headers })
const roleId = async (name: string) =>
  (await realm.asOwner(sql`select id from freehold.roles where name = ${name}`))[0]?.id as string

describe('a provider', () => {
  it('is added, read, listed, changed and removed, with the permission for settings', async () => {
    const answer = await add({ name: 'acme-staff', claims: { roles: 'groups' }, allowed_domains: ['ACME.example'] })
    expect(answer.status, JSON.stringify(answer.body)).toBe(201)
    expect(answer.body).toMatchObject({
      name: 'acme-staff',
      claims: { roles: 'groups' },
      allowed_domains: ['acme.example'],
      creates_users: false,
      links_by_email: false,
      is_enabled: true,
      is_confidential: false,
    })
    const { id } = answer.body
    expect((await call(AT, `${PATH}/${id}`, { token: admin })).body).toEqual(answer.body)
    const tag = answer.headers.get('ETag') ?? ''
    const changed = await patch(id, { label: 'Staff', is_enabled: false }, admin, { 'If-Match': tag })
    expect(changed.body).toMatchObject({ label: 'Staff', is_enabled: false, claims: { roles: 'groups' } })
    expectProblem(await patch(id, { label: 'Late' }, admin, { 'If-Match': tag }), 412, 'etag_mismatch')
    expect((await call(AT, PATH, { token: setter })).body.data).toContainEqual(changed.body)
    expect((await call(AT, `${PATH}/${id}`, { token: admin, method: 'DELETE' })).status).toBe(204)
    expectProblem(await call(AT, `${PATH}/${id}`, { token: admin }), 404, 'not_found')
    const nobody = (await addMember(realm, 'no-setter')).token
    expectProblem(await call(AT, PATH, { token: nobody }), 403, 'forbidden')
    expectProblem(await add({}, nobody), 403, 'forbidden')
  })

  it('keeps its secret: encrypted, in no answer, in no entry of the audit, and unread by the app login', async () => {
    const secret = 'the-secret-of-a-client'
    const { body, status } = await add({ client_secret: secret })
    expect([status, body.is_confidential]).toEqual([201, true])
    expect(JSON.stringify(body)).not.toContain(secret)
    const [row] = await realm.asOwner(sql`select client_secret_encrypted as sealed from freehold.providers where id = ${body.id}`)
    expect(row?.sealed).toMatch(/^k\d\./)
    const entries = await realm.asOwner(
      sql`select d.after::text as said from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id where l.resource_id = ${body.id}`,
    )
    expect(entries[0]?.said).toContain('"client_secret_encrypted": "***"')
    const { asApp } = await databaseOf(AT)
    await expect(asApp(sql`select client_secret_encrypted from freehold.providers`)).rejects.toThrow()
    expect((await patch(body.id, { client_secret: null })).body.is_confidential).toBe(false)
  })

  it('never changes what decides who an external id is', async () => {
    const { body } = await add()
    for (const field of ['name', 'type', 'issuer', 'client_id'])
      expectProblem(await patch(body.id, { [field]: 'other' }), 400, 'invalid_request', field)
  })

  it('has a name of its own, and there are 20 at most, twenty at once too', async () => {
    const token = await tokenOf('provider-settings-too')
    const at = (body: object) => call('provider-settings-too', PATH, { token, body })
    expect((await at(wanted({ name: 'one' }))).status).toBe(201)
    expectProblem(await at(wanted({ name: 'one' })), 409, 'already_exists')
    const answers = await Promise.all(Array.from({ length: 22 }, () => at(wanted())))
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(19)
    expectProblem(await at(wanted()), 409, 'limit_reached')
  })
})

describe('who is believed', () => {
  it.each([{ links_by_email: true }, { trusts_emails: true }, { mfa_values: ['mfa'] }])(
    '%j takes every permission, to set as to keep on',
    async (believed) => {
      const refused = await add(believed, setter)
      expectProblem(refused, 403, 'forbidden')
      expectDiscreet(refused)
      const { body } = await add(believed)
      expectProblem(await patch(body.id, { claims: { email: 'upn' } }, setter), 403, 'forbidden')
      expect((await patch(body.id, { label: 'Other' }, setter)).status).toBe(200)
      expect((await patch(body.id, { is_enabled: false }, setter)).status).toBe(200)
      expectProblem(await patch(body.id, { is_enabled: true }, setter), 403, 'forbidden')
      const [[field, value]] = Object.entries(believed) as [[string, unknown]]
      expect((await patch(body.id, { [field]: value === true ? false : [] }, setter)).status).toBe(200)
    },
  )

  it('addresses of an issuer of many organizations are nobody’s to trust', async () => {
    const entra = { type: 'entra', issuer: 'https://login.microsoftonline.com/organizations/v2.0' }
    expectProblem(await add({ ...entra, trusts_emails: true }), 400, 'invalid_request', '#/trusts_emails')
    expect((await add(entra)).status).toBe(201)
  })

  it('roles are given that the caller holds, that exist and are active', async () => {
    const [mine, more] = [await roleId('sets'), await roleId('admin')]
    expect((await add({ creates_users: true, role_id: mine }, setter)).status).toBe(201)
    for (const given of [{ role_id: more }, { role_id: mine, role_mapping: { boss: more } }])
      expectProblem(await add({ creates_users: true, ...given }, setter), 403, 'forbidden')
    const { body } = await add({ creates_users: true, role_id: mine, role_mapping: { staff: mine } })
    expect((await patch(body.id, { role_mapping: { staff: mine, boss: more } })).status).toBe(200)
    expectProblem(await patch(body.id, { claims: { roles: 'teams' } }, setter), 403, 'forbidden')
    const nobody = crypto.randomUUID()
    expectProblem(await add({ creates_users: true, role_id: nobody }), 400, 'invalid_request')
    expectProblem(await add({ creates_users: true, role_mapping: { x: nobody } }), 400, 'invalid_request')
  })
})

describe('an issuer', () => {
  const production = { ...settings(), ENVIRONMENT: 'production' as const, BASE_URL: new URL('https://id.freehold.example') }

  it.each([
    'http://id.acme.example',
    'https://localhost',
    'https://localhost.',
    'https://api.localhost:8443',
    'https://127.0.0.1',
    'https://127.1',
    'https://0x7f.0.0.1',
    'https://0177.0.0.1',
    'https://2130706433',
    'https://１２７.0.0.1',
    'https://[::1]',
    'https://[::ffff:127.0.0.1]',
    'https://[fe80::1]',
    'https://[fd00::1]',
    'https://10.0.0.1',
    'https://172.16.0.1',
    'https://192.168.1.1',
    'https://169.254.169.254',
    'https://100.64.0.1',
    'https://0.0.0.0',
    'https://8.8.8.8',
    'https://metadata.google.internal',
    'https://printer.local',
    'https://intranet',
    'https://router.lan',
    'https://1.0.0.127.in-addr.arpa',
    'https://user@id.acme.example',
    'https://user:secret@id.acme.example',
    'https://id.acme.example#x',
    'https://id.acme.example#',
    'https://id.acme.example\n',
    'https://id.acme\t.example',
    'https://id.acme.example/a b',
    'https://id.acme.example\\@evil.example',
    'https://id.acme.example/\\x',
    'https://id.freehold.example',
    'https://acme.id.freehold.example',
    'ftp://id.acme.example',
    'javascript:alert(1)',
    'https:id.acme.example',
    'id.acme.example',
    '',
  ])('%s is refused in production', (issuer) => expect(faultOfUrl(production, issuer)).not.toBeNull())

  it.each([
    'https://id.acme.example',
    'https://id.acme.example:8443/realms/staff',
    'https://xn--mnchen-3ya.example',
    'https://dev_1.eu.auth0.com/',
  ])('%s is taken', (issuer) => expect(faultOfIssuer(production, 'oidc', issuer)).toBeNull())

  it.each([
    ['google', 'https://accounts.google.com', true],
    ['google', 'https://accounts.google.com.evil.example', false],
    ['entra', `https://login.microsoftonline.com/${crypto.randomUUID()}/v2.0`, true],
    ['entra', 'https://login.microsoftonline.com/common/v2.0', true],
    ['entra', 'https://login.microsoftonline.com/contoso.com/v2.0', false],
    ['cognito', 'https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Ab3dEf9h', true],
    ['cognito', 'https://cognito-idp.amazonaws.com/x', false],
    ['firebase', 'https://securetoken.google.com/acme-prod', true],
    ['firebase', 'https://securetoken.google.com/', false],
  ] as const)('of %s: %s is one: %s', (type, issuer, is_one) =>
    expect(faultOfIssuer(production, type, issuer) === null).toBe(is_one),
  )

  it('is refused over the API, at its field, in words', async () => {
    for (const issuer of [
      'http://id.acme.example',
      'https://10.0.0.1',
      'https://a:b@id.acme.example',
      'https://id.acme.example?x=1',
      'https://id.acme.example?',
      'https://id.acme.example#',
      'https://id.acme.example/\n',
      'https://id.acme.example/\\x',
    ])
      expectProblem(await add({ issuer }), 400, 'invalid_request', '#/issuer')
    expectProblem(await add({ type: 'google', issuer: 'https://id.acme.example' }), 400, 'invalid_request', '#/issuer')
    const loopback = wanted({ issuer: 'http://127.0.0.1:1' })
    expect((await call(AT, PATH, { token: admin, body: loopback })).status, 'in a local start').toBe(201)
  })
})

it.each<[string, object, string]>([
  ['a name with capitals', { name: 'Acme' }, '#/name'],
  ['a name that leaves its path', { name: '../x' }, '#/name'],
  ['a type that nobody knows', { type: 'saml' }, '#/type'],
  ['a claim that nobody maps', { claims: { sub: 'id' } }, '#/claims/sub'],
  ['a domain that is none', { allowed_domains: ['@acme'] }, '#/allowed_domains/0'],
  ['a role that is no id', { role_mapping: { x: 'admin' } }, '#/role_mapping/x'],
  ['a label of 71 characters', { label: 'x'.repeat(71) }, '#/label'],
  ['a flag that is text', { creates_users: 'yes' }, '#/creates_users'],
  ['a secret with a line break', { client_secret: 'a\nb' }, '#/client_secret'],
  ['a field that nobody knows', { scope: 'x' }, '#/scope'],
])('%s is not valid', async (_, more, pointer) => expectProblem(await add(more), 400, 'invalid_request', pointer))
