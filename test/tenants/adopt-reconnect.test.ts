/**
 * The connection string of an adopted database. Threat: its owner changes the password, and nobody sees why something stopped, or the tenant
 * stops with it; the new one is of another database; and somebody reads it in a log, a table, the audit or the payload of a Workflow.
 */
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { afterEach, expect, it, vi } from 'vitest'
import { eraseStale } from '../../src/tenants/lifecycle/erasure.ts'
import { NOT_ACCEPTED } from '../../src/tenants/provisioning/isolation-external.ts'
import { databaseOf, master, rowsOf, settings } from '../support/databases.ts'
import { call, login, makeTenant, operatorToken, wanted } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { adopt, changePassword, eraseTenant, type Stranger, strangersDatabase } from '../support/stranger.ts'

afterEach(() => vi.restoreAllMocks())

async function adopted(name: string): Promise<{ shop: Stranger; id: string }> {
  const shop = await strangersDatabase(name)
  const { status, body } = await adopt(name, shop.url)
  expect(status, JSON.stringify(body)).toBe(201)
  return { shop, id: body.id }
}
const put = async (id: string, connection_string: string) =>
  call('', `/platform/v1/tenants/${id}/connection-string`, {
    method: 'PUT',
    token: await operatorToken(),
    body: { connection_string },
  })
const show = async (id: string) => (await call('', `/platform/v1/tenants/${id}`, { token: await operatorToken() })).body

it('that is accepted no more stops nobody who uses the tenant; an erasure says what it waits for, and ends with the new one', async () => {
  const { shop, id } = await adopted('reconnected')
  const url = await changePassword(shop)
  await login('reconnected')
  for (const [verb, status] of [
    ['deactivate', 'inactive'],
    ['activate', 'active'],
  ] as const) {
    const answer = await call('', `/platform/v1/tenants/${id}/${verb}`, { method: 'POST', token: await operatorToken() })
    expect([answer.status, answer.body.status]).toEqual([200, status])
  }
  expect((await show(id)).database_error).toBeNull()
  const query = '?hard=true&confirm=reconnected'
  await call('', `/platform/v1/tenants/${id}${query}`, { method: 'DELETE', token: await operatorToken() })
  await vi.waitUntil(async () => (await show(id)).database_error !== null, { timeout: 60_000, interval: 50 })
  expect(await show(id)).toMatchObject({ status: 'erasing', database_error: NOT_ACCEPTED })
  await eraseStale(env as never, settings())
  expect((await show(id)).status).toBe('erasing')

  expectProblem(await put(id, shop.url), 400, 'invalid_request')
  const { status, body } = await put(id, url)
  expect([status, body.status, body.database_error], JSON.stringify(body)).toEqual([200, 'erasing', null])
  await vi.waitUntil(
    async () => {
      await eraseStale(env as never, settings())
      return (await show(id)).status === 404
    },
    { timeout: 60_000, interval: 100 },
  )
  expect(await rowsOf(url, sql`select nspname from pg_namespace where nspname in ('freehold', 'access')`)).toEqual([])
})

it('is taken only for the database that holds the tenant', async () => {
  const { shop, id } = await adopted('reconnect-same')
  const other = await adopted('reconnect-other')
  const elsewhere = await put(id, other.shop.url)
  expectProblem(elsewhere, 400, 'invalid_request')
  expect(elsewhere.body.errors).toEqual([
    { pointer: '#/connection_string', detail: `must be of the same database, ${shop.host}/shop_reconnect_same` },
  ])
  expect((await put(id, shop.url)).status).toBe(200)
  await shop.asOwner(sql`set local role freehold_owner`, sql`update freehold.tenant set id = gen_random_uuid()`)
  const another = await put(id, shop.url)
  expectProblem(another, 409, 'illegal_state')
  expect(another.body.detail).toBe('The database does not hold this tenant: it is another, or was restored from before.')
})

it('is nothing that a tenant has whose database was made here, nor one that nobody knows', async () => {
  const { id } = await makeTenant('reconnect-none')
  const answer = await put(id, 'postgresql://a:b@ep-a.us-east-2.aws.neon.tech/c')
  expectProblem(answer, 409, 'illegal_state')
  expect(answer.body.detail).toBe('The database of this tenant was not adopted.')
  expectProblem(await put(crypto.randomUUID(), 'postgresql://a:b@ep-a.us-east-2.aws.neon.tech/c'), 404, 'not_found')
})

it('that is given anew is in the audit, under the name of who gave it', async () => {
  const { shop, id } = await adopted('reconnect-audited')
  await put(id, await changePassword(shop))
  const entries = await master(
    sql`select a.action, u.username, d.after from freehold.audit_log a join freehold.users u on u.id = a.user_id join freehold.audit_detail d on d.log_id = a.id
        where a.resource_type = 'tenant' and a.resource_id = ${id} and a.action = 'update' and d.after ? 'connected_at'`,
  )
  expect(entries).toMatchObject([{ action: 'update', username: 'ada' }])
})

/** Everything in the master, as text. */
async function allOfTheMaster(): Promise<string> {
  const tables = await master(
    sql`select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname in ('platform', 'freehold', 'access')`,
  )
  const all = await Promise.all(
    tables.map(({ name }) => master(sql.raw(`select string_agg(t::text, E'\\n') as text from ${name} t`))),
  )
  return all.map(([row]) => row?.text ?? '').join('\n')
}

it('is in no log, no table, no entry of KV and no payload of a Workflow: neither when it works nor when it does not', async () => {
  const lines: string[] = []
  for (const name of ['log', 'warn', 'error', 'info'] as const)
    vi.spyOn(console, name).mockImplementation((...words: unknown[]) => void lines.push(words.map(String).join(' ')))
  const payloads: unknown[] = []
  const { PROVISIONING } = env as any
  const watched = {
    get: (id: string) => PROVISIONING.get(id),
    create: (given: unknown) => {
      payloads.push(given)
      return PROVISIONING.create(given)
    },
  }

  const shop = await strangersDatabase('reconnect-secret')
  const token = await operatorToken()
  const body = { ...wanted('reconnect-secret'), connection_string: shop.url }
  const ask = (more: object) =>
    call('', '/platform/v1/tenants/adopt', {
      token,
      body: { ...body, ...more },
      headers: { Prefer: 'wait=30', 'Idempotency-Key': 'reconnect-secret' },
      settings: { PROVISIONING: watched } as any,
    })
  const wrong = Object.assign(new URL(shop.url), { password: 'Not-the-password-1' }).href
  const answers = [await ask({ connection_string: wrong }), await ask({}), await ask({})]
  expect(
    answers.map(({ status }) => status),
    JSON.stringify(answers.map(({ body }) => body)),
  ).toEqual([400, 201, 201])
  const url = await changePassword(shop)
  const id: string = answers[1]?.body.id
  answers.push(await put(id, shop.url), await put(id, url))
  const seen = [await allOfTheMaster(), ...lines, JSON.stringify(payloads), JSON.stringify(answers.map(({ body }) => body))]
  const { keys } = await env.TENANTS.list()
  for (const { name } of keys) seen.push(String(await env.TENANTS.get(name)))
  await eraseTenant(id, 'reconnect-secret')
  seen.push(await allOfTheMaster(), ...lines)
  expect(payloads).toHaveLength(1)
  expect(lines.length).toBeGreaterThan(10)
  for (const secret of ['Not-the-password-1', new URL(shop.url).password, new URL(url).password])
    expect(seen.filter((text) => text.includes(secret))).toEqual([])
})

it('is encrypted under OWNER_KEYS, as other owner logins are', async () => {
  await adopted('reconnect-keys')
  const { host_url } = await databaseOf('reconnect-keys')
  expect(new URL(host_url).pathname).toBe('/shop_reconnect_keys')
})
