import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { hash } from '../../src/passwords/hash.ts'
import { master, settings } from '../support/databases.ts'
import { call, makeTenant, operatorToken, wanted } from '../support/people.ts'
import { tokenOf } from '../support/sessions.ts'

const UNKNOWN = '0d9c1a52-7c1e-4b39-9d0d-3c8f3f0b8a11'
const AUDITOR = { email: 'audrey@freehold.test', password: 'Quiet-Ledger-52' }
let tenant: any
let auditor: string
let foreign: string

beforeAll(async () => {
  tenant = await makeTenant('permitted')
  foreign = await tokenOf('permitted')
  const password_hash = await hash(AUDITOR.password, settings().PASSWORD_HASH_ITERATIONS)
  const [column] = await master(
    sql`select 1 from information_schema.columns where table_schema = 'freehold' and table_name = 'users' and column_name = 'password_hash'`,
  )
  await master(
    sql`insert into freehold.users (id, username, email, role) values (gen_random_uuid(), 'audrey', ${AUDITOR.email}, 'auditor')`,
    column
      ? sql`update freehold.users set password_hash = ${password_hash} where username = 'audrey'`
      : sql`insert into freehold.passwords (id, user_id, password_hash) select gen_random_uuid(), id, ${password_hash} from freehold.users where username = 'audrey'`,
  )
  auditor = (await call('', '/platform/v1/auth/login', { body: AUDITOR })).body.access_token
})

const doors: [string, string, () => string, Record<string, unknown>?][] = [
  ['POST', 'making a tenant', () => '/platform/v1/tenants', wanted('not-permitted')],
  [
    'POST',
    'adopting a database',
    () => '/platform/v1/tenants/adopt',
    { ...wanted('not-adopted'), connection_string: 'postgresql://a:b@ep-a.us-east-2.aws.neon.tech/c' },
  ],
  [
    'PUT',
    'giving its connection string',
    () => `/platform/v1/tenants/${tenant.id}/connection-string`,
    { connection_string: 'postgresql://a:b@ep-a.us-east-2.aws.neon.tech/c' },
  ],
  ['GET', 'the list', () => '/platform/v1/tenants'],
  ['GET', 'one tenant', () => `/platform/v1/tenants/${tenant.id}`],
  ['GET', 'its provisioning', () => `/platform/v1/tenants/${tenant.id}/provisioning`],
  ['GET', 'its provisioning as events', () => `/platform/v1/tenants/${tenant.id}/provisioning/events`],
  ['GET', 'its usage', () => `/platform/v1/tenants/${tenant.id}/usage`],
  ['GET', 'its drift', () => `/platform/v1/tenants/${tenant.id}/drift`],
  ['PATCH', 'changing it', () => `/platform/v1/tenants/${tenant.id}`, { config: { origins: ['https://app.acme.test'] } }],
  ['POST', 'retrying it', () => `/platform/v1/tenants/${tenant.id}/retry`],
  ['POST', 'switching it off', () => `/platform/v1/tenants/${tenant.id}/deactivate`],
  ['POST', 'switching it on', () => `/platform/v1/tenants/${tenant.id}/activate`],
  ['POST', 'rotating its keys', () => `/platform/v1/tenants/${tenant.id}/rotate-keys`],
  ['POST', 'rotating its signing key', () => `/platform/v1/tenants/${tenant.id}/rotate-signing-key`],
  ['POST', 'resetting a password in it', () => `/platform/v1/tenants/${tenant.id}/reset-password`, {}],
  ['POST', 'rotating its logins', () => `/platform/v1/tenants/${tenant.id}/rotate-credentials`],
  ['POST', 'undoing its migration', () => `/platform/v1/tenants/${tenant.id}/undo-migration`, {}],
  ['GET', 'its undo', () => `/platform/v1/tenants/${tenant.id}/undo-migration`],
  ['POST', 'moving it', () => `/platform/v1/tenants/${tenant.id}/move`, { isolation: 'project' }],
  ['GET', 'its move', () => `/platform/v1/tenants/${tenant.id}/move`],
  ['POST', 'a restore point of it', () => `/platform/v1/tenants/${tenant.id}/restore-point`, { at: '2026-01-01T00:00:00Z' }],
  ['GET', 'its restore points', () => `/platform/v1/tenants/${tenant.id}/restore-point`],
  ['GET', 'all of its restore points', () => `/platform/v1/tenants/${tenant.id}/restore-points`],
  ['POST', 'restoring it', () => `/platform/v1/tenants/${tenant.id}/restore`],
  ['DELETE', 'deleting it', () => `/platform/v1/tenants/${tenant.id}`],
  ['DELETE', 'erasing it', () => `/platform/v1/tenants/${tenant.id}?hard=true&confirm=permitted`],
]

describe.each(doors)('%s: %s', (method, _, path, body) => {
  const ask = (token?: string) => call('', path(), { method, token, ...(body && { body }) })

  it('is not for somebody without a token', async () => {
    const answer = await ask()
    expect([answer.status, answer.body.code]).toEqual([401, 'token_missing'])
    expect(answer.headers.get('WWW-Authenticate')).toMatch(/^Bearer/)
  })

  it('is not for a tenant’s administrator', async () => {
    const answer = await ask(foreign)
    expect([answer.status, answer.body.code]).toEqual([401, 'token_wrong_tenant'])
  })

  it(method === 'GET' ? 'is for an auditor' : 'is not for an auditor', async () => {
    const answer = await ask(auditor)
    expect([answer.status, answer.body.code]).toEqual(method === 'GET' ? [200, undefined] : [403, 'forbidden'])
  })

  it('is not on a tenant’s host', async () => {
    const answer = await call('permitted', path(), { method, token: await operatorToken(), ...(body && { body }) })
    expect([answer.status, answer.body.code]).toEqual([404, 'not_found'])
  })
})

describe('a tenant that does not exist', () => {
  it.each(['retry', 'deactivate', 'activate'])('has no %s', async (verb) => {
    const answer = await call('', `/platform/v1/tenants/${UNKNOWN}/${verb}`, { method: 'POST', token: await operatorToken() })
    expect([answer.status, answer.body.code]).toEqual([404, 'not_found'])
  })

  it('is not told from one that does, to an auditor who may not switch it', async () => {
    const answer = await call('', `/platform/v1/tenants/${UNKNOWN}/deactivate`, { method: 'POST', token: auditor })
    expect([answer.status, answer.body.code]).toEqual([403, 'forbidden'])
  })
})

it('a refusal changed nothing', async () => {
  const answer = await call('', `/platform/v1/tenants/${tenant.id}`, { token: auditor })
  expect(answer.body).toMatchObject({ status: 'active', updated_at: tenant.updated_at })
  expect(await master(sql`select 1 from platform.tenants where subdomain = 'not-permitted'`)).toEqual([])
})
