/**
 * Moves of tenants between a shared host and a project of their own. Threat: somebody is logged out, loses a password or a row, or the
 * audit breaks, because the tenant is somewhere else. Faults and writes meanwhile: test/faults/move*.test.ts.
 */
import { exports } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { afterAll, describe, expect, it } from 'vitest'
import { verifyChain } from '../../src/audit/verify.ts'
import { checkpointAudit, verifyAudit } from '../../src/tenants/maintenance/checkpoints.ts'
import { takeBranch } from '../../src/tenants/migration/kept.ts'
import { differing, shapeOf, sumsOf } from '../../src/tenants/move/rows.ts'
import { neonApi } from '../../src/tenants/provisioning/neon.ts'
import { databaseOf, master, refusalOf, settings } from '../support/databases.ts'
import { findingsOf } from '../support/doctor.ts'
import { askNeon } from '../support/faults.ts'
import { look, moved, removeRest, WRITTEN_BY_MOVES } from '../support/move.ts'
import { ADMIN, call, login, operatorToken } from '../support/people.ts'
import { copyTenant } from '../support/tenants.ts'
import { eraseAll, KEPT, NEWEST } from '../support/undo.ts'

afterAll(() => eraseAll('moves-'), 240_000)

/** The first request after a move, to an isolate that still knows the old database: it is led over. */
const first = async (subdomain: string, token: string) => {
  const headers = { Authorization: `Bearer ${token}` }
  return (await exports.default.fetch(new Request(`http://${subdomain}.freehold.test/api/v1/auth/me`, { headers }))).status
}

/** Rows of every kind of value that is copied, as text that is written and read: what is easily written otherwise. */
async function leaveRows(subdomain: string): Promise<void> {
  const { asOwner } = await databaseOf(subdomain)
  await asOwner(
    sql`insert into freehold.units (id, kind, name) values (gen_random_uuid(), 'department', 'Calidad "Ñ" \\ ☃')`,
    sql`insert into freehold.units (id, kind, name, parent_id) select gen_random_uuid(), 'team', 'team', u.id from freehold.units u`,
    sql`insert into freehold.users (id, username, email, role, unit_id, preferences, joined_at)
        select gen_random_uuid(), 'ana' || n, 'ana' || n || '@people.test', 'user', (select u.id from freehold.units u where u.kind = 'team'), '{"a": [null, 1.50, "ñ\\n"], "b": {}}', '2020-02-29'
        from generate_series(1, 300) n`,
    sql`insert into freehold.users (id, username, email, role, manager_id) select gen_random_uuid(), 'zoe', 'zoe@people.test', 'user', u.id from freehold.users u where u.username = 'ana7'`,
    sql`update freehold.users u set manager_id = m.id from freehold.users m where u.username = 'ana1' and m.username = 'zoe'`,
    sql`insert into freehold.overrides (id, user_id, permission, effect, scope) select gen_random_uuid(), u.id, 'user:read', 'grant', 'own' from freehold.users u where u.username = 'zoe'`,
    sql`insert into freehold.mails (id, user_id, kind, recipient, locale, data, next_at)
        select gen_random_uuid(), u.id, 'password_expiring', 'zoe@people.test', 'es', '{"days": 3}', now() + interval '1 day' from freehold.users u where u.username = 'zoe'`,
    sql`update freehold.tenant set max_failures = 7, idle_days = 9`,
  )
}

/** Takes a branch of a tenant's branch, as a migration that can be undone does. */
async function keepBranch(tenant_id: string, project_id: string, parent_id: string): Promise<void> {
  const { branch_id } = await takeBranch(neonApi(settings()), project_id, parent_id, `tenant-${tenant_id}-${KEPT}-1`)
  await master(
    sql`insert into platform.kept_branches (tenant_id, target, attempt, parent_id, branch_id, before, trace_id, kept_until)
        values (${tenant_id}, ${NEWEST}, 1, ${parent_id}, ${branch_id}, '{}', 'x', now() + interval '1 day')`,
  )
}

/** The events that a tenant has, with their numbers. */
const everyEvent = sql`select access.events_between(1, 5000, true) as events`

const sums = async (url: string) => sumsOf(url, await shapeOf(url))
describe('a tenant that is moved', () => {
  it('to a project, to another region and back keeps its people, passwords, sessions, keys, settings, mails and its audit', {
    timeout: 120_000,
  }, async () => {
    const subdomain = 'moves-both'
    const { id } = await copyTenant(subdomain)
    const session = await login(subdomain)
    let { access_token: token, refresh_token } = session
    const key = await call(subdomain, '/api/v1/api-keys', { token, body: { name: 'k', permissions: ['user:read'] } })
    await leaveRows(subdomain)
    await checkpointAudit(settings(), subdomain)
    for (const [isolation, region] of [
      ['project', 'aws-eu-central-1'],
      ['project', settings().NEON_REGION],
      ['database', settings().NEON_REGION],
      ['project', 'aws-eu-central-1'],
    ] as const) {
      const before = await databaseOf(subdomain)
      const was = await sums(before.owner_url)
      const { events } = (await before.asOwner(everyEvent))[0] as { events: object[] }
      const newest = await moved(id, isolation, isolation === 'project' ? { region } : {})
      expect(newest, JSON.stringify(newest)).toMatchObject({ state: 'done', error: null, isolation })
      expect(newest.steps.every((step: { state: string }) => step.state === 'done')).toBe(true)
      const after = await databaseOf(subdomain)
      expect(after.app_url).not.toBe(before.app_url)
      expect(await look(id)).toMatchObject({ isolation, region })
      expect(differing(was, await sums(after.owner_url)).filter((table) => !WRITTEN_BY_MOVES.includes(table))).toEqual([])
      const { events: later } = (await after.asOwner(everyEvent))[0] as { events: object[] }
      expect(events.length).toBeGreaterThan(0)
      expect(later.slice(0, events.length), 'each event keeps its number').toEqual(events)
      expect(await first(subdomain, token), 'the session goes on').toBe(200)
      const again = await call(subdomain, '/api/v1/auth/refresh', { body: { refresh_token } })
      expect(again.status, JSON.stringify(again.body)).toBe(200)
      token = again.body.access_token
      refresh_token = again.body.refresh_token
      expect((await call(subdomain, '/api/v1/auth/login', { body: ADMIN })).status).toBe(200)
      await checkpointAudit(settings(), subdomain)
      const verified = await verifyAudit(settings(), subdomain)
      expect(verified.faults, JSON.stringify(verified)).toEqual([])
      const refused = await refusalOf(before.app_url, sql`select access.check_tenant(${id})`)
      expect(refused, 'the database that was left admits nobody').toMatch(/42501|wrong_tenant/)
      await removeRest(id)
      expect((await look(id)).newest.left_until).toBeNull()
      expect(await refusalOf(before.owner_url, sql`select 1`)).not.toBe('none')
    }
    expect(key.status, JSON.stringify(key.body)).toBe(201)
    expect((await call(subdomain, '/api/v1/users', { headers: { 'X-API-Key': key.body.key } })).status).toBe(200)
    const { projects } = await askNeon(`/projects?search=${id}`)
    expect(projects.map(({ region_id }: { region_id: string }) => region_id)).toEqual(['aws-eu-central-1'])
    const hosts = await master(
      sql`select h.name from platform.hosts h where h.taken <> (select count(*) from platform.tenants t where t.host_id = h.id) and exists (
            select from platform.tenant_moves m where m.tenant_id = ${id} and (h.id = m.other_host_id or h.name like '%' || ${id} || '%' or h.kind = 'database' and h.taken < 0))`,
    )
    expect(hosts).toEqual([])
  })

  it('out of a branch is in a project or a shared host, and its branch is removed with those that migrations kept', {
    timeout: 120_000,
  }, async () => {
    for (const [subdomain, isolation] of [
      ['moves-branch-own', 'project'],
      ['moves-branch-shared', 'database'],
    ] as const) {
      const { id } = await copyTenant(subdomain, { isolation: 'branch' })
      const { access_token: token, refresh_token } = await login(subdomain)
      const [at] = await master(
        sql`select h.id, h.taken, h.project_id, t.branch_id from platform.tenants t join platform.hosts h on h.id = t.host_id where t.id = ${id}`,
      )
      const branches = async () =>
        (await askNeon(`/projects/${at?.project_id}/branches?search=tenant-${id}`)).branches.map(({ name }: any) => name).sort()
      await keepBranch(id, String(at?.project_id), String(at?.branch_id))
      expect(await branches()).toEqual([`tenant-${id}`, `tenant-${id}-${KEPT}-1`])
      const newest = await moved(id, isolation)
      expect(newest, JSON.stringify(newest)).toMatchObject({ state: 'done', error: null, from_isolation: 'branch', isolation })
      expect(await first(subdomain, token), 'the session goes on').toBe(200)
      expect((await call(subdomain, '/api/v1/auth/refresh', { body: { refresh_token } })).status).toBe(200)
      expect(
        (await findingsOf(id)).filter(({ check }) => check === 'neon'),
        'what is left is not reported',
      ).toEqual([])
      const { body } = await call('', `/platform/v1/tenants/${id}/undo-migration`, { token: await operatorToken() })
      expect(body).toMatchObject({ is_possible: false })
      await removeRest(id)
      expect(await branches()).toEqual([])
      const [host] = await master(sql`select taken from platform.hosts where id = ${at?.id}`)
      expect(host?.taken).toBe(Number(at?.taken) - 1)
    }
  })

  it('to a Postgres with lower numbers of transactions has an audit that verifies, which it does not without the cut', async () => {
    const subdomain = 'moves-older'
    const { id } = await copyTenant(subdomain)
    const { access_token } = await login(subdomain)
    await checkpointAudit(settings(), subdomain)
    expect(await moved(id, 'project')).toMatchObject({ state: 'done' })
    const { asOwner, owner_url } = await databaseOf(subdomain)
    await first(subdomain, access_token)
    await login(subdomain)
    await checkpointAudit(settings(), subdomain)
    const [cut] = await asOwner(sql`select no from freehold.audit_checkpoints where entries = 0`)
    // As if what was before the cut came from a Postgres that is a billion transactions older.
    const rebuild = sql.raw(`do $$ declare c freehold.audit_checkpoints; before bytea := ''; begin
      for c in select * from freehold.audit_checkpoints order by no loop
        c.hash := sha256(before || access.canonical_checkpoint(c) || coalesce((select string_agg(access.canonical_entry(l), '' order by l.xid, l.id) from freehold.audit_log l where l.checkpoint = c.no), ''));
        update freehold.audit_checkpoints set hash = c.hash where no = c.no;
        before := c.hash;
      end loop; end $$`)
    const still = (what: string) =>
      ['audit_log', 'audit_checkpoints'].map((name) => sql.raw(`alter table freehold.${name} ${what} trigger user`))
    await asOwner(
      ...still('disable'),
      sql`update freehold.audit_log set xid = xid + 1000000000 where checkpoint < ${cut?.no}`,
      sql`update freehold.audit_checkpoints set oldest_xid = oldest_xid + 1000000000, next_xid = next_xid + 1000000000 where no < ${cut?.no}`,
      rebuild,
      ...still('enable'),
    )
    const since = '2020-01-01'
    expect((await verifyChain(owner_url, null, since)).faults.filter(({ kind }) => kind !== 'cut_off')).toEqual([])
    await asOwner(
      ...still('disable'),
      sql`update freehold.audit_checkpoints set oldest_xid = 1000000000, next_xid = 2000000000 where no = ${cut?.no}`,
      rebuild,
      ...still('enable'),
    )
    expect((await verifyChain(owner_url, null, since)).faults.map(({ kind }) => kind)).toContain('forged')
  })
})

describe('two databases', () => {
  it.each([
    [
      'a microsecond',
      `update freehold.users set created_at = created_at + interval '1 microsecond' where username = 'ana7'`,
      'freehold.users',
    ],
    ['a null that was JSON', `update freehold.users set preferences = '{"a": null}' where username = 'ana7'`, 'freehold.users'],
    [
      'a byte',
      `update access.secrets set inner_key = set_byte(inner_key, 3, (get_byte(inner_key, 3) + 1) % 256)`,
      'access.secrets',
    ],
    [
      'a row twice',
      `insert into access.kept_answers (id, user_id, request_hash, resource) values ('\\x01', gen_random_uuid(), '\\x02', '{}')`,
      'access.kept_answers',
    ],
  ])('that differ by %s are not taken for the same', async (_, change, table) => {
    const subdomain = 'moves-summed'
    const [found] = await master(sql`select id from platform.tenants where subdomain = ${subdomain}`)
    if (!found) {
      await copyTenant(subdomain)
      await leaveRows(subdomain)
    }
    const { asOwner, owner_url } = await databaseOf(subdomain)
    const was = await sums(owner_url)
    expect(differing(was, await sums(owner_url))).toEqual([])
    await asOwner(
      sql.raw(`alter table ${table} disable trigger user`),
      sql.raw(change),
      sql.raw(`alter table ${table} enable trigger user`),
    )
    expect(differing(was, await sums(owner_url))).toEqual([table])
  })
})
