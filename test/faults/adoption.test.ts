/**
 * Threat: an answer is lost or wrong while a database of somebody else's is adopted, or given back, and a tenant is half made, made twice, or
 * something of it is left where its owner finds it.
 */
import { introspectWorkflow } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Fault } from '../../scripts/local-neon/fault.ts'
import { eraseStale } from '../../src/tenants/lifecycle/erasure.ts'
import { NOT_ACCEPTED } from '../../src/tenants/provisioning/isolation-external.ts'
import { BROKEN, GATEWAY, HTML, SQL, spoiled, status } from '../support/answers.ts'
import { master, settings } from '../support/databases.ts'
import { findingsOf } from '../support/doctor.ts'
import { askNeon, bothSides, ended, pending, rememberLeft, reserve, run, switchOn, WHOLE, whole } from '../support/faults.ts'
import { call, operatorToken, wanted } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import {
  adopt,
  changePassword,
  eraseTenant,
  fillShop,
  orphaned,
  type Stranger,
  shopOf,
  strangersDatabase,
  strangersLogin,
} from '../support/stranger.ts'

beforeAll(rememberLeft, 60_000)

let introspector: Awaited<ReturnType<typeof introspectWorkflow>>
let token: string
let n = 0
let shop: Stranger
beforeAll(async () => {
  introspector = await introspectWorkflow(env.PROVISIONING)
  await introspector.modifyAll((modifier) => modifier.disableRetryDelays())
  token = await operatorToken()
  shop = await strangersDatabase('adopting')
  await strangersLogin(shop, 'adopting_reader')
  await fillShop(shop, 'adopting_reader')
})
afterEach(() => switchOn())
afterAll(() => introspector.dispose())

const answered = (code: number, body: string, type: string, more: Record<string, string> = {}): Fault => ({
  match: SQL,
  times: 1,
  ...status(code, body, { 'content-type': type, ...more }),
})
/** The admission of the operator, and the look at the platform's own hosts, come first. */
const afterOurs = (fault: Fault): Fault[] => [{ match: fault.match, times: 2, kind: 'delay', ms: 0 }, fault]

describe('a host that', () => {
  const refused = async (text: string) => {
    const answer = await adopt(`adopting-${++n}`, text, {}, {}, token)
    expectProblem(answer, 400, 'invalid_request')
    return answer
  }
  // So that the platform's realm is remembered.
  beforeEach(() => refused(''))

  it.each([
    ['answers a page', answered(200, HTML, 'text/html')],
    ['answers JSON of another kind', answered(200, '{"hello":"world"}', 'application/json')],
    ['has no such address', answered(404, '{"message":"Not Found"}', 'application/json')],
    ['does not understand', answered(400, '"query is not supported"', 'application/json')],
    ['sends elsewhere', answered(302, '', 'text/plain', { Location: 'http://127.0.0.1:1/sql' })],
  ])('%s is refused by name', async (_, fault) => {
    await switchOn(...afterOurs(fault))
    expect((await refused(shop.url)).body.errors[0].detail).toBe(
      `names the host ${shop.host}, which does not speak Neon’s SQL over HTTP`,
    )
  })

  it.each([
    ['is slow at a proxy', answered(524, HTML, 'text/html')],
    ['breaks', answered(500, '{"message":"Control plane request failed","code":""}', 'application/json')],
    ['has too much to do', answered(429, 'slow down', 'text/plain')],
    ['does not answer', { match: { method: 'POST', path: '^/sql$' }, times: 1, kind: 'drop_before' } as Fault],
  ])('%s is asked again later', async (_, fault) => {
    await switchOn(...afterOurs(fault))
    const answer = await adopt(`adopting-${++n}`, shop.url, {}, {}, token)
    expectProblem(answer, 503, 'database_unavailable')
    expect(answer.body.detail).toBe(`The host ${shop.host} does not answer.`)
  })
})

describe('an adoption beside what a stranger has, and its erasure', () => {
  let before: string[]
  beforeAll(async () => {
    before = await shopOf(shop)
  })

  /** Adopts the database without a fault, and marks the tenant for erasure. */
  async function doomed() {
    const name = `adopting-${++n}`
    const { status, body } = await adopt(name, shop.url, {}, {}, token)
    expect(status, JSON.stringify(body)).toBe(201)
    await master(sql`update platform.tenants set status = 'erasing', deleted_at = now() where id = ${body.id}`)
    return { name, id: body.id as string }
  }

  /** Nothing of the tenant is left, and everything of the stranger's. */
  async function gone(name: string, id: string) {
    for (let i = 0; i < 3; i++) await eraseStale(env as never, settings())
    expect(await master(sql`select id from platform.tenants where subdomain = ${name}`)).toEqual([])
    expect(await master(sql`select id from platform.hosts where name like ${`%${id}`}`)).toEqual([])
    const short = id.replaceAll('-', '').slice(0, 12)
    expect(await shop.asOwner(sql`select rolname from pg_roles where rolname like ${`%${short}%`}`)).toEqual([])
    expect(await shopOf(shop)).toEqual(before)
    expect(await shop.asOwner(sql`select nspname from pg_namespace where nspname in ('freehold', 'access')`)).toEqual([])
  }

  it('when the control plane refuses the roles, busy or for good: the tenant is made, or failed with the reason, and is gone', async () => {
    const name = `adopting-${++n}`
    await switchOn({ match: SQL, times: 2, kind: 'refuse_roles', status: 423 })
    const { status, body } = await adopt(name, shop.url, {}, {}, token)
    expect([status, await pending()], JSON.stringify(body)).toEqual([201, []])
    await master(sql`update platform.tenants set status = 'erasing', deleted_at = now() where id = ${body.id}`)
    await gone(name, body.id)
  })

  it.each([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])(
    'when answers of databases are lost during the erasure, from the %ith on',
    async (first) => {
      const { name, id } = await doomed()
      await switchOn(...spoiled(first, 9, 3, { kind: 'drop_after' }))
      await eraseStale(env as never, settings()).catch(() => 0)
      await switchOn()
      await master(sql`update platform.tenants set erasing_until = now() where id = ${id}`)
      await gone(name, id)
    },
  )

  it.each([1, 3, 5, 7, 9])('when databases cannot be reached during the erasure, from the %ith request on', async (first) => {
    const { name, id } = await doomed()
    await switchOn(...spoiled(first, 9, 3, BROKEN, GATEWAY, { kind: 'drop_before' }))
    await eraseStale(env as never, settings()).catch(() => 0)
    await switchOn()
    await master(sql`update platform.tenants set erasing_until = now() where id = ${id}`)
    await gone(name, id)
  })
})

describe('an adoption that cannot go on', () => {
  const put = (id: string, connection_string: string) =>
    call('', `/platform/v1/tenants/${id}/connection-string`, { method: 'PUT', token, body: { connection_string } })
  const show = async (id: string) => (await call('', `/platform/v1/tenants/${id}`, { token })).body

  it('because the password was changed meanwhile fails and says so; with the new one a retry finishes it', async () => {
    const name = `adopting-${++n}`
    const { id, run_id } = await reserve(name, 'external')
    const [{ address } = {}] = await master(
      sql`select h.address from platform.hosts h join platform.tenants t on t.host_id = h.id where t.id = ${id}`,
    )
    const { projects } = await askNeon(`/projects?search=stranger-${name}`)
    const { branches } = await askNeon(`/projects/${projects[0].id}/branches`)
    const [host, database] = address.split('/')
    const at = {
      project_id: projects[0].id,
      branch_id: branches[0].id,
      login: 'neondb_owner',
      url: `postgresql://neondb_owner:x@${host}/${database}`,
    }
    const url = await changePassword(at as Stranger)
    await run(run_id)
    expect(await show(id)).toMatchObject({ status: 'failed', database_error: NOT_ACCEPTED })
    const steps = (await call('', `/platform/v1/tenants/${id}/provisioning`, { token })).body.data
    expect(steps.filter(({ state }: any) => state === 'failed')).toMatchObject([{ name: 'logins', error: NOT_ACCEPTED }])
    const answer = await put(id, url)
    expect([answer.status, answer.body.database_error], JSON.stringify(answer.body)).toEqual([200, null])
    expect((await call('', `/platform/v1/tenants/${id}/retry`, { method: 'POST', token })).status).toBe(202)
    const [again] = await master(
      sql`select id from platform.provisioning_runs where tenant_id = ${id} order by attempt desc limit 1`,
    )
    await ended(again?.id)
    expect(await whole(name)).toEqual({ ...WHOLE, subdomain: name })
  })

  it('because Neon brought a login back as its own makes them fails and names it; without it a retry finishes it', async () => {
    const name = `adopting-${++n}`
    const { id, run_id } = await reserve(name, 'external')
    const short = id.replaceAll('-', '').slice(0, 12)
    const { projects } = await askNeon(`/projects?search=stranger-${name}`)
    const { branches } = await askNeon(`/projects/${projects[0].id}/branches`)
    const roles = `/projects/${projects[0].id}/branches/${branches[0].id}/roles`
    const body = JSON.stringify({ role: { name: `freehold_app_${short}_a` } })
    await askNeon(roles, { method: 'POST', body })
    await run(run_id)
    const said = expect.stringMatching(
      `^The role freehold_(app|owner)_${short}(_a)? has privileges that are not of Freehold\\. Drop it`,
    )
    expect(await show(id)).toMatchObject({ status: 'failed', database_error: said })
    await askNeon(`${roles}/freehold_app_${short}_a`, { method: 'DELETE' })
    expect((await call('', `/platform/v1/tenants/${id}/retry`, { method: 'POST', token })).status).toBe(202)
    const [again] = await master(
      sql`select id from platform.provisioning_runs where tenant_id = ${id} order by attempt desc limit 1`,
    )
    await ended(again?.id)
    expect(await whole(name)).toEqual({ ...WHOLE, subdomain: name })
  })

  it('and is given up leaves a tenant that was in the database before, with its people', async () => {
    const { shop: theirs, id } = await orphaned('adopting-kept', `adopting-${++n}`)
    const name = `adopting-${++n}`
    await theirs.asOwner(
      sql`set local role freehold_owner`,
      sql`create function freehold.refuse() returns trigger language plpgsql as $$ begin raise exception 'not now'; end $$`,
      sql`create trigger refuse before insert on freehold.users for each row execute function freehold.refuse()`,
    )
    const taking = { take_over: true, admin_email: 'cy@acme.test', admin_password: undefined, connection_string: theirs.url }
    expect((await call('', '/platform/v1/tenants/adopt', { token, body: { ...wanted(name), ...taking } })).status).toBe(202)
    const [{ id: run_id } = {}] = await master(sql`select id from platform.provisioning_runs where tenant_id = ${id}`)
    await ended(run_id)
    expect(await show(id)).toMatchObject({ status: 'failed' })
    await eraseTenant(id, name)
    expect(await theirs.asOwner(sql`select count(*)::integer as n from freehold.users`)).toEqual([{ n: 1 }])
  })
})

it('nothing is there twice or left over, and the doctor finds nothing', async () => {
  const { neon, known } = await bothSides('adopting-')
  expect(neon).toEqual(known)
  expect(await findingsOf('adopting')).toEqual([])
})
