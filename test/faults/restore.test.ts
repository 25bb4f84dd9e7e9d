/**
 * Going back to an earlier moment of a tenant. Threat: what was taken from somebody since is theirs again; writes are lost unsaid; the
 * audit loses entries unseen, or numbers two checkpoints alike; a tenant stays closed; anybody may do it.
 */
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { afterAll, expect, it } from 'vitest'
import { checkpointAudit, verifyAudit } from '../../src/tenants/maintenance/checkpoints.ts'
import { tendRestores } from '../../src/tenants/restore/rest.ts'
import { databaseOf, master, settings } from '../support/databases.ts'
import { examine } from '../support/doctor.ts'
import { askNeon } from '../support/faults.ts'
import { addPerson, inside } from '../support/inside.ts'
import { ADMIN, call, login } from '../support/people.ts'
import { mark, peopleOf, pointAt, restoreTo, tenantOf } from '../support/restore.ts'
import { plantSession } from '../support/sessions.ts'
import { eraseAll } from '../support/undo.ts'

afterAll(() => eraseAll('timed-'), 240_000)

/** Puts what the audit has so far under a checkpoint that the master knows. */
async function checkpoint(subdomain: string): Promise<void> {
  const pending = async () =>
    (await (await databaseOf(subdomain)).asOwner(sql`select from freehold.audit_log l where l.checkpoint is null`)).length
  for (let tries = 0; tries < 100 && (await pending()); tries++) {
    await checkpointAudit(settings(), subdomain)
    await scheduler.wait(20)
  }
}
const headOf = async (id: string) =>
  Number((await master(sql`select a.no from platform.audit_heads a where a.realm_id = ${id}`))[0]?.no)

/** What the doctor finds of a tenant. The local Neon has one cluster: in every project are the logins that other tests left. */
const foundAt = async (id: string) =>
  (await examine('neon')).filter(
    ({ tenant_id, subject, code }) =>
      tenant_id === id ||
      (subject.includes(id) &&
        (code !== 'login_of_nobody' || subject.split('/')[1]?.includes(id.replaceAll('-', '').slice(0, 12)))),
  )

it('takes a tenant back to a moment and forward again, says what differs, and gives back nothing that was taken', {
  timeout: 180_000,
}, async () => {
  const name = 'timed-whole'
  const { id } = await tenantOf(name)
  const bo = (await plantSession(name)).access_token
  const here = await inside(name)
  for (const username of ['ann', 'ben', 'cyd']) await addPerson(here, username, { roles: ['user'] })
  const api = (path: string, body?: unknown, method?: string) =>
    call(name, `/api/v1${path}`, { token: bo, ...(body !== undefined && { body }), ...(method && { method }) })
  const users = async () =>
    Object.fromEntries((await api('/users?limit=100')).body.data.map((user: any) => [user.username, user.id]))
  const ids = await users()
  const key = (await api('/api-keys', { name: 'robot', permissions: ['user:read'] })).body
  const invited = async (email: string) => (await api('/invitations', { email })).body.id as string
  const invitations = [await invited('eve@people.test'), await invited('fay@people.test')]
  const kept = (await api('/api-keys', { name: 'other', permissions: ['user:read'] })).body
  // Of a login that waits for its second factor, one that waits for a mailed code, and a notification that waits for the digest.
  await here.asOwner(
    sql`insert into freehold.login_challenges (token_hash, user_id, guard, amr, expires_at)
        values (sha256('waits'), ${ids.ann}, 'x', 'pwd', now() + interval '10 minutes')`,
    sql`insert into freehold.email_logins (request_hash, link_hash, code_hash, user_id, target, expires_at)
        values (sha256('request'), sha256('link'), sha256('code'), ${ids.ann}, 'login', now() + interval '10 minutes')`,
    sql`select access.notify(${ids.ann}, 'competency_expired', '{"competency": "Welding"}')`,
  )
  const waiting = async () =>
    (
      await (
        await databaseOf(name)
      ).asOwner(
        sql`select (select count(*) from freehold.login_challenges where used_at is null)::integer as challenges,
              (select count(*) from freehold.email_logins where used_at is null)::integer as logins,
              (select count(*) from freehold.notifications where mail is not null)::integer as mails`,
      )
    )[0]
  expect(await waiting()).toEqual({ challenges: 1, logins: 1, mails: 1 })
  await checkpoint(name)
  const at = await mark(id)
  // Since then.
  await addPerson(here, 'dan', { roles: ['user'] })
  expect((await api(`/users/${ids.ann}`, { given_name: 'Anna' }, 'PATCH')).status).toBe(200)
  expect((await api(`/users/${ids.ben}/deactivate`, undefined, 'POST')).status).toBeLessThan(300)
  expect((await api(`/api-keys/${key.id}`, undefined, 'DELETE')).status).toBeLessThan(300)
  expect((await api(`/invitations/${invitations[0]}/revoke`, undefined, 'POST')).status).toBe(200)
  expect((await api('/settings', { max_sessions: 7 }, 'PATCH')).status).toBe(200)
  const late = (await login(name)).access_token
  await checkpoint(name)
  const before = await headOf(id)
  const point = await pointAt(id, at)
  expect(point.difference).toMatchObject({
    people: { added: { count: 1, names: ['dan'] }, deactivated: { count: 1, names: ['ben'] }, removed: { count: 0 } },
    api_keys: { revoked: { count: 1 }, made: { count: 0 } },
    settings: { changed: { count: 1, names: ['max_sessions'] } },
  })
  expect(point.difference.people.changed.names).toEqual(expect.arrayContaining(['ann', 'ben']))
  expect(point.difference.sessions.ended).toBeGreaterThanOrEqual(2)
  expect(point.difference.audit.entries).toBeGreaterThan(3)
  // Nothing of the tenant has changed.
  expect([(await api('/settings')).body.max_sessions, await peopleOf(name)]).toEqual([7, ['ann', 'ben', 'bo', 'cyd', 'dan']])

  await restoreTo(id, name, point.id)
  expect(await peopleOf(name)).toEqual(['ann', 'ben', 'bo', 'cyd'])
  expect(await waiting()).toEqual({ challenges: 0, logins: 0, mails: 0 })
  for (const token of [bo, late])
    expect((await call(name, '/api/v1/auth/me', { token })).body.code).toMatch(/session_ended|token_invalid/)
  const again = await login(name)
  const asBo = (path: string) => call(name, `/api/v1${path}`, { token: again.access_token })
  expect((await asBo('/settings')).body.max_sessions).toBe(5)
  expect((await asBo(`/users/${ids.ann}`)).body.given_name).not.toBe('Anna')
  expect((await asBo(`/users/${ids.ben}`)).body.is_active).toBe(false)
  const statuses = Promise.all(invitations.map(async (one) => (await asBo(`/invitations/${one}`)).body.status))
  expect(await statuses).toEqual(['revoked', 'open'])
  expect((await call(name, '/api/v1/users', { headers: { 'X-API-Key': key.key }, token: undefined as never })).status).toBe(401)
  expect((await call(name, '/api/v1/users', { headers: { 'X-API-Key': kept.key }, token: undefined as never })).status).toBe(200)
  // The audit knows the cut: its numbers go on behind those of the branch that was left.
  expect(await headOf(id)).toBe(before + 1)
  await checkpoint(name)
  expect(await headOf(id)).toBeGreaterThan(before + 1)
  expect(await verifyAudit(settings(), name)).toMatchObject({ faults: [] })
  const [told] = await (await databaseOf(name)).asOwner(
    sql`select d.after from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id where l.activity_type = 'TENANT_RESTORED'`,
  )
  expect(told?.after).toMatchObject({ restore_id: point.id, left_checkpoint: before })
  expect(await foundAt(id)).toEqual([])

  // Forward again.
  await restoreTo(id, name, point.id, 'return')
  expect(await peopleOf(name)).toEqual(['ann', 'ben', 'bo', 'cyd', 'dan'])
  expect((await call(name, '/api/v1/auth/me', { token: again.access_token })).body.code).toMatch(/session_ended|token_invalid/)
  const now = (await login(name)).access_token
  expect((await call(name, '/api/v1/settings', { token: now })).body.max_sessions).toBe(7)
  await checkpoint(name)
  expect(await verifyAudit(settings(), name)).toMatchObject({ faults: [] })
  expect(await foundAt(id)).toEqual([])
  // What is over is removed: the branch of the moment, and computes that nobody needs.
  await master(sql`update platform.restore_points set kept_until = now(), compute_until = now() where tenant_id = ${id}`)
  await tendRestores(env, settings())
  const [host] = await master(
    sql`select h.project_id, h.branch_id from platform.hosts h join platform.tenants t on t.host_id = h.id where t.id = ${id}`,
  )
  const { branches } = await askNeon(`/projects/${host?.project_id}/branches`)
  expect(branches.map((branch: any) => branch.id)).toEqual([host?.branch_id])
  expect((await call(name, '/api/v1/auth/me', { token: now })).status).toBe(200)
  expect((await call(name, '/api/v1/auth/login', { body: ADMIN })).status).toBe(200)
})
