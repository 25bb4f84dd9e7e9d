/**
 * Moves of tenants that are in use. Threat: somebody was told that something is stored, and it is in a database that nobody reads any
 * more, or there twice; or a request is answered from a database that is not the tenant's, or reads what was left behind.
 */
import { exports } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { afterAll, describe, expect, it } from 'vitest'
import { batch } from '../../src/kernel/db.ts'
import { close, closeWrites, openWrites } from '../../src/tenants/fence/fence.ts'
import { checkpointAudit, verifyAudit } from '../../src/tenants/maintenance/checkpoints.ts'
import { type Database, databaseOf, master, rowsOf, settings } from '../support/databases.ts'
import { ended, move, removeRest } from '../support/move.ts'
import { ADMIN } from '../support/people.ts'
import { plantSession } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { eraseAll, newTrace } from '../support/undo.ts'

afterAll(() => eraseAll('mwrite-'), 240_000)

const CLIENTS = 20
/** What is asked by POST and changes nothing. */
const CHECKS = { checks: [{ permission: 'unit:create' }] }

/** A request as a client sends it; an answer may come from either database, so no budget of round trips holds. */
async function ask(subdomain: string, path: string, token: string, body?: object) {
  const init = { method: body ? 'POST' : 'GET', ...(body && { body: JSON.stringify(body) }) }
  const headers = { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' }
  const answer = await exports.default.fetch(new Request(`http://${subdomain}.freehold.test${path}`, { ...init, headers }))
  return { status: answer.status, retry: answer.headers.get('Retry-After'), body: (await answer.json()) as any }
}

/** Clients that write units, each after the other, and note what was acknowledged, until they are told to end. */
function hammer(subdomain: string, token: string) {
  const acknowledged: string[] = []
  const others: { status: number; code: string; retry: string | null }[] = []
  let is_over = false
  const client = async (n: number) => {
    for (let i = 0; !is_over; i++) {
      const name = `unit ${n} ${i}`
      const { status, body, retry } = await ask(subdomain, '/api/v1/units', token, { kind: 'department', name })
      if (status === 201) acknowledged.push(name)
      else {
        others.push({ status, code: body.code, retry })
        await scheduler.wait(50)
      }
    }
  }
  const clients = Array.from({ length: CLIENTS }, (_, n) => client(n))
  return {
    acknowledged,
    others,
    async end() {
      is_over = true
      await Promise.all(clients)
    },
  }
}

const unitsOf = async (url: string): Promise<string[]> =>
  (await rowsOf(url, sql`set local role freehold_owner`, sql`select u.name from freehold.units u`)).map(({ name }) =>
    String(name),
  )

/** Every write that was acknowledged is there once, and nothing else; the database that was left has no later one. */
async function expectAll(before: Database, subdomain: string, acknowledged: string[]) {
  const { owner_url } = await databaseOf(subdomain)
  const there = await unitsOf(owner_url)
  expect(there.sort()).toEqual([...acknowledged].sort())
  const left = await unitsOf(before.owner_url)
  expect(left.filter((name) => !there.includes(name))).toEqual([])
  return left.length
}

describe('writes of twenty clients', () => {
  it('through a move to a project and one back are all there, once, and each refusal says when to come again', {
    timeout: 180_000,
  }, async () => {
    const subdomain = 'mwrite-hammered'
    const { id } = await copyTenant(subdomain)
    const { access_token: token } = await plantSession(subdomain)
    await copyTenant('mwrite-neighbour')
    const { access_token: other } = await plantSession('mwrite-neighbour')
    const clients = hammer(subdomain, token)
    for (const isolation of ['project', 'database'] as const) {
      await scheduler.wait(1_000)
      const before = await databaseOf(subdomain)
      const from = clients.acknowledged.length
      expect((await move(id, { isolation })).status).toBe(202)
      const neighbour: unknown[] = []
      const moving = ended(id)
      const reads: { status: number; tenant?: string }[] = []
      const checks: { status: number; allowed?: boolean }[] = []
      let is_moving = true
      const asking = (async () => {
        while (is_moving) {
          neighbour.push((await ask('mwrite-neighbour', '/api/v1/auth/me', other)).body.tenant)
          const { status, body } = await ask(subdomain, '/api/v1/auth/me', token)
          reads.push({ status, ...(status === 200 && { tenant: body.tenant }) })
          const checked = await ask(subdomain, '/api/v1/authz/check', token, CHECKS)
          checks.push({ status: checked.status, ...(checked.status === 200 && { allowed: checked.body.results[0].allowed }) })
        }
      })()
      const newest = await moving
      is_moving = false
      await asking
      expect(newest, JSON.stringify(newest)).toMatchObject({ state: 'done', error: null })
      expect(new Set(neighbour)).toEqual(new Set(['mwrite-neighbour']))
      expect(reads).toContainEqual({ status: 200, tenant: subdomain })
      for (const one of reads) expect([{ status: 200, tenant: subdomain }, { status: 503 }]).toContainEqual(one)
      for (const one of checks) expect([{ status: 200, allowed: true }, { status: 503 }]).toContainEqual(one)
      await scheduler.wait(1_000)
      expect(clients.acknowledged.length, 'they went on').toBeGreaterThan(from + CLIENTS)
      const left = await unitsOf(before.owner_url)
      await scheduler.wait(500)
      expect(await unitsOf(before.owner_url), 'nobody writes to what was left').toEqual(left)
      expect(clients.acknowledged.length).toBeGreaterThan(left.length)
      await removeRest(id)
    }
    const before = await databaseOf(subdomain)
    await clients.end()
    await expectAll(before, subdomain, clients.acknowledged)
    for (const { status, code, retry } of clients.others) {
      expect([status, code]).toEqual([503, 'database_unavailable'])
      expect(retry).toMatch(/^[1-9]\d*$/)
    }
    await checkpointAudit(settings(), subdomain)
    expect(await verifyAudit(settings(), subdomain)).toMatchObject({ faults: [] })
  })

  it('while Postgres ends the connections to both databases again and again are all there, once', {
    timeout: 180_000,
  }, async () => {
    const subdomain = 'mwrite-killed'
    const { id } = await copyTenant(subdomain)
    const { access_token: token } = await plantSession(subdomain)
    const before = await databaseOf(subdomain)
    const clients = hammer(subdomain, token)
    expect((await move(id, { isolation: 'project' })).status).toBe(202)
    let is_moving = true
    const killing = (async () => {
      while (is_moving) {
        await rowsOf(
          before.host_url,
          sql`select pg_terminate_backend(a.pid) from pg_stat_activity a where a.usename like ${`freehold\\_owner\\_${id.replaceAll('-', '').slice(0, 12)}%`} and a.pid <> pg_backend_pid()`,
        ).catch(() => [])
        await scheduler.wait(150)
      }
    })()
    const newest = await ended(id)
    is_moving = false
    await killing
    await clients.end()
    if (newest.state === 'failed') {
      await removeRest(id)
      expect((await move(id, { isolation: 'project' })).status).toBe(202)
      expect(await ended(id)).toMatchObject({ state: 'done' })
    }
    // A connection that was ended may have stored what nobody was told: what was acknowledged is there, and nothing twice.
    const there = await unitsOf((await databaseOf(subdomain)).owner_url)
    expect(new Set(there).size).toBe(there.length)
    expect(clients.acknowledged.filter((name) => !there.includes(name))).toEqual([])
  })
})

describe('while rows are copied', () => {
  it('what only reads is answered, what writes is told to come again, and behind the exchange nothing is answered', async () => {
    const subdomain = 'mwrite-read'
    const { id } = await copyTenant(subdomain)
    const { access_token: token } = await plantSession(subdomain)
    const { owner_url, asOwner } = await databaseOf(subdomain)
    const read = () => ask(subdomain, '/api/v1/auth/me', token)
    const write = () => ask(subdomain, '/api/v1/units', token, { kind: 'department', name: 'one' })
    /** It reads, and notes who took it along. */
    const taken = () =>
      exports.default.fetch(
        new Request(`http://${subdomain}.freehold.test/api/v1/activities/export?format=csv`, {
          headers: { Authorization: `Bearer ${token}` },
        }),
      )
    const closed = { status: 503, retry: expect.stringMatching(/^[1-9]/), body: { code: 'database_unavailable' } }

    await asOwner(sql`update freehold.sessions set last_active_at = now() - interval '5 minutes'`)
    await closeWrites(owner_url, id, 4, newTrace())
    const before = await asOwner(sql`select count(*)::integer as n from freehold.audit_log`)
    const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => (i % 2 ? read() : write())))
    for (const [i, answer] of answers.entries()) expect(answer).toMatchObject(i % 2 ? { status: 200 } : closed)
    const refused = await taken()
    expect([refused.status, refused.headers.get('Retry-After')]).toEqual([503, expect.stringMatching(/^[1-9]/)])
    expect((await ask(subdomain, '/api/v1/auth/login', '', ADMIN)).status).toBe(503)
    expect(await asOwner(sql`select count(*)::integer as n from freehold.audit_log`)).toEqual(before)

    await close(owner_url, id, 4, newTrace())
    expect(await read()).toMatchObject(closed)
    await openWrites(owner_url, id, 3, newTrace())
    expect(await read(), 'a slower attempt opens nothing').toMatchObject(closed)
    await openWrites(owner_url, id, 5, newTrace())
    expect((await read()).status).toBe(200)
    expect((await write()).status).toBe(201)
    expect((await taken()).status).toBe(200)
  })

  it('permissions are checked as before, by sessions and by API keys, and nothing is written', async () => {
    const subdomain = 'mwrite-checked'
    const { id } = await copyTenant(subdomain)
    const { access_token: token } = await plantSession(subdomain)
    const { owner_url, asOwner } = await databaseOf(subdomain)
    const key = await ask(subdomain, '/api/v1/api-keys', token, { name: 'checks', permissions: ['unit:create'] })
    const check = (by: string, body: object = CHECKS) => ask(subdomain, '/api/v1/authz/check', by, body)
    const allowed = { status: 200, body: { results: [{ allowed: true }] } }
    // The last of its statements would note that the session was active.
    const idle = sql`update freehold.sessions set last_active_at = now() - interval '5 minutes'`
    const touched = () => asOwner(sql`select from freehold.sessions where last_active_at > now() - interval '2 minutes'`)

    await asOwner(idle)
    await closeWrites(owner_url, id, 4, newTrace())
    const before = await asOwner(sql`select count(*)::integer as n from freehold.audit_log`)
    const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => check(i % 2 ? token : key.body.key)))
    for (const answer of answers) expect(answer).toMatchObject(allowed)
    expect((await check(token, { checks: [{ permission: 'unit:create' }, { permission: 'nothing:here' }] })).body).toMatchObject({
      results: [{ allowed: true }, { error: { code: 'invalid_request' } }],
    })
    expect((await check(token, { checks: 'x' })).status).toBe(400)
    for (const [path, form] of [['introspect', `token=${token}`], ['userinfo']] as const) {
      const headers = { Authorization: `Bearer ${token}`, ...(form && { 'Content-Type': 'application/x-www-form-urlencoded' }) }
      const url = `http://${subdomain}.freehold.test/oauth/${path}`
      const answer = await exports.default.fetch(new Request(url, { method: 'POST', headers, body: form ?? null }))
      expect([answer.status, await answer.json()], path).toMatchObject([200, form ? { active: true } : { tid: id }])
    }
    expect(await touched()).toEqual([])
    expect(await asOwner(sql`select count(*)::integer as n from freehold.audit_log`)).toEqual(before)
    const head = new Request(`http://${subdomain}.freehold.test/api/v1/auth/me`, {
      method: 'HEAD',
      headers: { Authorization: `Bearer ${token}` },
    })
    expect((await exports.default.fetch(head)).status, 'HEAD is a read, too').toBe(200)

    await close(owner_url, id, 4, newTrace())
    expect(await check(token), 'the moment of the exchange').toMatchObject({
      status: 503,
      retry: expect.stringMatching(/^[1-9]/),
      body: { code: 'database_unavailable' },
    })
    await openWrites(owner_url, id, 4, newTrace())
    expect(await check(token)).toMatchObject(allowed)
    expect(await touched(), 'what is open notes it again').toHaveLength(1)
  })

  it('a slower attempt takes no write and no read away', async () => {
    const subdomain = 'mwrite-slow'
    const { id } = await copyTenant(subdomain)
    const { owner_url, asOwner } = await databaseOf(subdomain)
    await closeWrites(owner_url, id, 6, newTrace())
    await close(owner_url, id, 5, newTrace())
    await closeWrites(owner_url, id, 5, newTrace())
    expect(await asOwner(sql`select t.id, t.writes_closed_by from freehold.tenant t`)).toEqual([{ id, writes_closed_by: 6 }])
  })
})

describe('a write', () => {
  it('in a transaction that began before the tenant was closed is waited for and moved', { timeout: 60_000 }, async () => {
    const subdomain = 'mwrite-late'
    const { id } = await copyTenant(subdomain)
    const { owner_url } = await databaseOf(subdomain)
    expect((await move(id, { isolation: 'project' })).status).toBe(202)
    const slow = batch(owner_url, [
      sql`set local role freehold_owner`,
      sql`select t.id from freehold.tenant t`,
      sql`select pg_sleep(5)`,
      sql`insert into freehold.units (id, kind, name) values (gen_random_uuid(), 'department', 'late')`,
    ])
    await slow
    expect(await ended(id)).toMatchObject({ state: 'done' })
    expect(await unitsOf((await databaseOf(subdomain)).owner_url)).toEqual(['late'])
  })

  it('of the scheduled maintenance is refused by a database that is closed', async () => {
    const subdomain = 'mwrite-kept'
    const { id } = await copyTenant(subdomain)
    const { owner_url, asOwner } = await databaseOf(subdomain)
    await close(owner_url, id, 2, newTrace())
    await expect(checkpointAudit(settings(), subdomain)).rejects.toThrow()
    expect(await asOwner(sql`select from freehold.audit_checkpoints`)).toEqual([])
    await asOwner(sql`update freehold.tenant set id = ${id}`)
    expect(await checkpointAudit(settings(), subdomain)).toBe(1)
  })

  it('of an operator meanwhile reaches the new database: a tenant that is switched off is off there', {
    timeout: 60_000,
  }, async () => {
    const subdomain = 'mwrite-off'
    const { id } = await copyTenant(subdomain)
    const { access_token: token } = await plantSession(subdomain)
    expect((await move(id, { isolation: 'project' })).status).toBe(202)
    await master(sql`update platform.tenants set status = 'inactive' where id = ${id}`)
    expect(await ended(id)).toMatchObject({ state: 'done' })
    const { asOwner } = await databaseOf(subdomain)
    expect(await asOwner(sql`select t.is_active from freehold.tenant t`)).toEqual([{ is_active: false }])
    expect((await ask(subdomain, '/api/v1/auth/me', token)).status).toBe(403)
  })
})
