/** Threat: a rotation of a tenant's logins fails requests, takes the logins that are in use, or leaves some that nobody knows of. */
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { lookUp } from '../../src/tenants/registry/registry.ts'
import {
  afterKnown,
  expectOnePair,
  loginsOf,
  pairNames,
  shownLogins,
  tendLogins,
  turnLogins,
  turnLoginsNow,
} from '../support/credentials.ts'
import { databaseOf, master, refusalOf, rowsOf, settings } from '../support/databases.ts'
import { openIsolate } from '../support/isolates.ts'
import { lateKv } from '../support/late-kv.ts'
import { ADMIN, call, operatorToken } from '../support/people.ts'
import { plantTenant } from '../support/planted.ts'
import { expectDiscreet, expectProblem } from '../support/refusal.ts'
import { plantSession } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

let operator: string
beforeAll(async () => {
  operator = await operatorToken()
})
afterEach(() => vi.useRealTimers())

const logIn = (name: string) => call(name, '/api/v1/auth/login', { body: ADMIN })

describe('a rotation of logins', () => {
  it.each(['database', 'branch', 'project'] as const)(
    'of a tenant of isolation %s gives it the other pair, and the first one again',
    { timeout: 60_000 },
    async (isolation) => {
      const name = `logins-${isolation}`
      const { id } = await copyTenant(name, { isolation })
      const before = await databaseOf(name)
      const begun = await turnLoginsNow(id, operator)
      expect([begun.status, begun.body.state], JSON.stringify(begun.body)).toEqual([202, 'running'])
      expect(begun.headers.get('Location')).toBe(`/platform/v1/tenants/${id}/rotate-credentials`)
      const leaving = await shownLogins(id, operator)
      expect(leaving, JSON.stringify(leaving)).toMatchObject({ id: begun.body.id, state: 'leaving', step: 'drop', error: null })
      const wait = (Date.parse(leaving.left_until) - Date.now()) / 1000
      expect(wait).toBeGreaterThan(160)
      expect(wait).toBeLessThan(185)
      // Both pairs work.
      const after = await databaseOf(name)
      expect(new URL(after.app_url).username).toBe(pairNames(id, 'b')[0])
      expect(new URL(after.app_url).password).not.toBe(new URL(before.app_url).password)
      for (const url of [before.app_url, before.owner_url, after.app_url, after.owner_url])
        expect(await refusalOf(url, sql`select 1`)).toBe('none')
      await tendLogins(id)
      expect(await refusalOf(before.app_url, sql`select 1`), 'its time has not come').toBe('none')
      await afterKnown(id)
      expect((await shownLogins(id, operator)).state).toBe('done')
      for (const url of [before.app_url, before.owner_url]) expect(await refusalOf(url, sql`select 1`)).not.toBe('none')
      await expectOnePair(id, name, 'b')
      await lookUp({ env, config: settings(), meter: { master: 0 } }, name, true)
      expect((await logIn(name)).status).toBe(200)
      expect((await turnLoginsNow(id, operator)).status).toBe(202)
      await afterKnown(id)
      await expectOnePair(id, name, 'a')
      await lookUp({ env, config: settings(), meter: { master: 0 } }, name, true)
      expect((await logIn(name)).status).toBe(200)
      expectDiscreet(begun, new URL(after.app_url).password, new URL(after.owner_url).password)
    },
  )

  it('has the limits and the rights of the former logins, and no more', async () => {
    const { id } = await copyTenant('logins-rights')
    const { host_url } = await databaseOf('logins-rights')
    const rights = async (pair: 'a' | 'b') => {
      const rows: unknown[] = []
      for (const name of pairNames(id, pair)) {
        const [row] = await rowsOf(
          host_url,
          sql`select r.rolcanlogin, r.rolsuper, r.rolbypassrls, r.rolcreaterole, r.rolcreatedb, r.rolreplication, r.rolconnlimit, r.rolconfig,
                (select string_agg(m.roleid::regrole::text, ' ') from pg_auth_members m where m.member = r.oid) as groups,
                (select string_agg(d.datname, ' ') from pg_database d, aclexplode(d.datacl) a where a.grantee = r.oid) as databases from pg_roles r where r.rolname = ${name}`,
        )
        rows.push(row)
      }
      return rows
    }
    const before = await rights('a')
    await turnLoginsNow(id, operator)
    expect(await rights('b')).toEqual(before)
  })

  it('of twenty at once is one, and all are told of it', async () => {
    const { id } = await copyTenant('logins-once')
    const answers = await Promise.all(Array.from({ length: 20 }, () => turnLogins(id, operator)))
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([202]))
    expect(new Set(answers.map(({ body }) => body.id)).size).toBe(1)
    await tendLogins(id)
    expect(await loginsOf(id, 'logins-once')).toEqual([...pairNames(id, 'a'), ...pairNames(id, 'b')].sort())
    expect((await turnLogins(id, operator)).body.id).toBe(answers[0]?.body.id)
    // What follows the answers goes on beside them.
    await vi.waitUntil(
      async () =>
        (await master(sql`select from platform.credential_rotations where tenant_id = ${id} and left_until is not null`)).length,
      60_000,
    )
    await afterKnown(id)
    await expectOnePair(id, 'logins-once', 'b')
    const [row] = await master(sql`select count(*)::integer as n from platform.credential_rotations where tenant_id = ${id}`)
    expect(row).toEqual({ n: 1 })
  })

  it('is in the platform’s audit with who asked, and without a connection string', async () => {
    const { id } = await copyTenant('logins-audit')
    const { body } = await turnLoginsNow(id, operator)
    await afterKnown(id)
    const entries = await master(
      sql`select l.action, d.user_name, d.before, d.after from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id where l.resource_id in (${body.id}, ${id}) order by l.at`,
    )
    expect(entries.some(({ user_name, after }) => user_name === 'ada' && after?.state === 'running')).toBe(true)
    expect(entries.some(({ user_name, after }) => user_name === null && after?.state === 'done')).toBe(true)
    expect(JSON.stringify(entries)).not.toMatch(/postgres|k1\.|o1\./)
  })

  it('is refused for a tenant that is not there, is made, failed or deleted, that is moved, migrated, or whose keys are rotated', async () => {
    const { id } = await copyTenant('logins-refused')
    expectProblem(await turnLogins(crypto.randomUUID(), operator), 404, 'not_found')
    expectProblem(await turnLogins('nobody', operator), 400, 'invalid_request')
    const look = (token?: string) => call('', `/platform/v1/tenants/${id}/rotate-credentials`, { token })
    expectProblem(await look(operator), 404, 'not_found')
    expectProblem(await look(), 401, 'token_missing')
    expectProblem(await look((await plantSession('logins-refused')).access_token), 401, 'token_wrong_tenant')
    for (const status of ['failed', 'provisioning'] as const)
      expectProblem(await turnLogins(await plantTenant(`logins-${status}`, status), operator), 409, 'illegal_state')
    await master(sql`update platform.tenants set status = 'failed' where subdomain = 'logins-provisioning'`)
    const refused = async (change: ReturnType<typeof sql>, back: ReturnType<typeof sql>, says: RegExp) => {
      await master(change)
      const answer = await turnLogins(id, operator)
      expectProblem(answer, 409, 'illegal_state')
      expect(answer.body.detail).toMatch(says)
      await master(back)
    }
    const set = (text: string) => sql`update platform.tenants set ${sql.raw(text)} where id = ${id}`
    await refused(set("status = 'deleted'"), set("status = 'active'"), /^The tenant is deleted\.$/)
    await refused(set('move_id = gen_random_uuid()'), set('move_id = null'), /^The tenant is being moved\.$/)
    await refused(set('rotating_since = now()'), set('rotating_since = null'), /keys of the tenant are being rotated/)
    await refused(
      sql`insert into platform.tenant_migrations (tenant_id, target, wave, state) values (${id}, 'tenant/x', 0, 'running')`,
      sql`delete from platform.tenant_migrations where tenant_id = ${id}`,
      /^The tenant is being migrated\.$/,
    )
    // Something is left of a move for four minutes more, and removed by the scheduled job a minute later at most.
    await master(
      sql`insert into platform.tenant_moves (id, tenant_id, from_isolation, isolation, region, state, step, attempts, lease_until, trace_id, left_until)
          values (gen_random_uuid(), ${id}, 'project', 'database', 'x', 'done', 'publish', 2, now(), 'x', now() + interval '4 minutes')`,
    )
    const waits = await turnLogins(id, operator)
    expectProblem(waits, 409, 'illegal_state')
    expect(waits.body.detail).toBe('What the last move left is not removed yet: try again in some minutes.')
    expect([299, 300]).toContain(Number(waits.headers.get('Retry-After')))
    await master(sql`delete from platform.tenant_moves where tenant_id = ${id}`)
    expect(await loginsOf(id, 'logins-refused')).toEqual(pairNames(id, 'a'))
  })

  it('keeps a move and a rotation of keys waiting until it is over', async () => {
    const { id } = await copyTenant('logins-alone')
    await turnLoginsNow(id, operator)
    const post = (verb: string, body?: object) =>
      call('', `/platform/v1/tenants/${id}/${verb}`, { method: 'POST', token: operator, ...(body && { body }) })
    expectProblem(await post('move', { isolation: 'project' }), 409, 'illegal_state')
    expectProblem(await post('rotate-keys'), 409, 'illegal_state')
    await afterKnown(id)
    expect((await post('rotate-keys')).status).toBe(200)
  })

  it('that is not over leaves no login of a tenant that is erased', async () => {
    const { id } = await copyTenant('logins-erased')
    const { host_url } = await databaseOf('logins-erased')
    await turnLoginsNow(id, operator)
    await call('', `/platform/v1/tenants/${id}?hard=true&confirm=logins-erased`, { method: 'DELETE', token: operator })
    await vi.waitUntil(async () => !(await master(sql`select from platform.tenants where id = ${id}`)).length, {
      timeout: 20_000,
    })
    for (const name of [...pairNames(id, 'a'), ...pairNames(id, 'b')])
      expect(await refusalOf(host_url, sql`alter role ${sql.identifier(name)} nologin`), name).toMatch(/^42704 /)
  })
})

describe('under load', () => {
  it('no request fails while logins are rotated and dropped, where KV is late and where it is not', {
    timeout: 180_000,
  }, async () => {
    const name = 'logins-load'
    const { id } = await copyTenant(name)
    // The logins below end no session that a slow request still uses.
    await rowsOf((await databaseOf(name)).owner_url, sql`update freehold.tenant set max_sessions = 1000`)
    vi.useFakeTimers({ toFake: ['Date'] })
    const start = Date.now()
    const [one, other] = [await openIsolate(env.TENANTS), await openIsolate(lateKv())]
    const failures: string[] = []
    const counts = { answers: 0, rounds: 0 }
    let is_over = false
    const tenants = new Set<string>()
    const note = ({ status, body }: { status: number; body: any }) => {
      counts.answers++
      if (status >= 300) failures.push(`${status} ${JSON.stringify(body)}`)
      return body
    }
    const work: ((round: number) => Promise<unknown>)[] = []
    for (const isolate of [one, other]) {
      let token = (await plantSession(name)).access_token
      const claims = () => JSON.parse(atob(token.split('.')[1]?.replaceAll('-', '+').replaceAll('_', '/') ?? ''))
      work.push(
        async () => {
          token = note(await isolate(name, '/api/v1/auth/login', { body: ADMIN })).access_token ?? token
          tenants.add(claims().tid)
        },
        async () => note(await isolate(name, '/api/v1/auth/me', { token })),
        async (round) =>
          note(
            await isolate(name, '/api/v1/units', { token, body: { kind: 'team', name: `Team ${round} ${crypto.randomUUID()}` } }),
          ),
      )
    }
    const loops = work.map(async (turn) => {
      for (let round = 0; !is_over; round++) {
        await turn(round)
        counts.rounds++
      }
    })
    const rounds = async (more: number) => {
      const until = counts.rounds + more
      await vi.waitUntil(() => counts.rounds >= until, { timeout: 60_000, interval: 20 })
    }
    await rounds(20)
    const turned = turnLoginsNow(id, operator)
    await rounds(20)
    expect((await turned).status).toBe(202)
    for (const seconds of [1, 11, 61, 119, 121, 170]) {
      vi.setSystemTime(start + seconds * 1000)
      await rounds(12)
    }
    vi.setSystemTime(start + 185_000)
    await afterKnown(id)
    await rounds(40)
    is_over = true
    await Promise.all(loops)
    expect(failures.slice(0, 5)).toEqual([])
    expect(counts.answers).toBeGreaterThan(150)
    expect([...tenants]).toEqual([id])
    vi.useRealTimers()
    await expectOnePair(id, name, 'b')
  })
})
