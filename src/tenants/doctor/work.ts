/**
 * Work that stands still or failed, and what the last migration of a tenant found changed in its database. What holds its lease is under
 * way, and no finding.
 */
import { sql } from 'drizzle-orm'
import { batch } from '../../kernel/db.ts'
import { isBehind } from '../migration/fleet.ts'
import { NEWEST } from '../migration/versions.ts'
import { type Code, finding } from './findings.ts'
import { behind, type Part, page } from './part.ts'

/** The work on tenants. One round trip. */
export const tenantWork: Part = {
  check: 'work',
  codes: [
    'provisioning_stuck',
    'erasure_stuck',
    'rotation_stuck',
    'restore_overdue',
    'tenant_failed',
    'tenant_behind',
    'migration_failed',
    'drifted',
    'maintenance_overdue',
    'audit_head_missing',
  ],
  async look({ config }, chosen) {
    const { where, rest } = page(chosen, sql`t.subdomain`)
    const tenants = sql`(select * from platform.tenants t where ${where} ${rest}) t`
    const [ids = [], found = []] = await batch(config.MASTER_DATABASE_URL, [
      sql`select t.id from ${tenants}`,
      sql`select t.id, t.subdomain, f.code, f.detail from ${tenants} cross join lateral (
            select 'provisioning_stuck' as code, 'Nobody works on its creation: the lease of its run has run out.' as detail
            where t.status = 'provisioning' and not exists (
              select from platform.provisioning_runs r where r.tenant_id = t.id and r.state = 'running' and r.lease_until >= now())
            union all
            select 'erasure_stuck', 'Nobody works on its erasure.' || coalesce((
              select ' It stopped: ' || s.error from platform.provisioning_steps s where s.tenant_id = t.id and s.name = 'erase'), '')
            where t.status = 'erasing' and coalesce(t.erasing_until, t.updated_at + interval '1 minute') < now()
            union all
            select 'rotation_stuck', format('The rotation of its keys began %s minutes ago.', floor(extract(epoch from now() - t.rotating_since) / 60))
            where t.rotating_since < now() - interval '2 minutes'
            union all
            select 'restore_overdue', format('%s should have been removed at Neon %s hours ago: the log of the scheduled job says why it is not.',
              case r.state when 'restored' then 'What it was before it was restored' else 'The branch of a restore point' end,
              floor(extract(epoch from now() - r.kept_until) / 3600))
            from platform.restore_points r
            where r.tenant_id = t.id and r.removed_at is null and r.state in ('restored', 'returned', 'failed', 'dropped') and r.kept_until < now() - interval '1 hour'
            union all
            select 'tenant_failed', coalesce((
              select format('Step %s failed: %s', s.name, coalesce(s.error, 'it says nothing'))
              from platform.provisioning_steps s where s.tenant_id = t.id and s.state = 'failed' order by s.position limit 1), 'No step says why.')
            where t.status = 'failed'
            union all
            select 'migration_failed', format('%s failed: %s', m.target, coalesce(m.error, 'it says nothing'))
            from platform.tenant_migrations m where m.tenant_id = t.id and m.target = ${NEWEST} and m.state = 'failed'
            union all
            select 'drifted', format('%s objects were not as the migrations make them when they were last compared, the first: %s %s.',
              m.drift ->> 'count', m.drift #>> '{objects,0,object}', m.drift #>> '{objects,0,state}')
            from platform.tenant_migrations m where m.tenant_id = t.id and m.target = ${NEWEST} and m.state = 'done' and (m.drift ->> 'count')::integer > 0
            union all
            select 'tenant_behind', format('Its schema is %s, and no run is taking it to the newest.', t.schema_version)
            where ${isBehind} and not exists (
              select from platform.tenant_migrations m join platform.migration_runs r on r.id = m.run_id
              where m.tenant_id = t.id and (m.state = 'failed' or r.state = 'running'))
            union all
            select 'maintenance_overdue', format('It is due since %s hours.', floor(extract(epoch from now() - q.due_at) / 3600))
            from platform.maintenance q where q.realm_id = t.id and t.status = 'active' and q.due_at < now() - interval '1 hour'
            union all
            select 'audit_head_missing', 'It has existed for a day, and the master holds no checkpoint of its audit.'
            where t.status = 'active' and t.created_at < now() - interval '1 day'
              and not exists (select from platform.audit_heads h where h.realm_id = t.id)
          ) f order by t.id`,
    ])
    return {
      findings: found.map((row) => finding(row.code as Code, String(row.subdomain), String(row.detail), String(row.id))),
      checked: ids.length,
      next: behind(
        chosen,
        ids.map(({ id }) => id),
      ),
    }
  },
}

/** The work on the platform: hosts that are being opened, of which each kind that tenants share has one at most, and the newest migration run. One round trip. */
export const platformWork: Part = {
  check: 'work',
  codes: ['host_stuck', 'migration_stopped'],
  async look({ config }, chosen) {
    const [hosts = [], [run] = []] = await batch(config.MASTER_DATABASE_URL, [
      sql`select h.name, h.kind, h.refused from platform.hosts h where h.state = 'opening' and (h.lease_until < now() or h.refused is not null)`,
      sql`select r.id, r.state, r.reason from platform.migration_runs r order by r.created_at desc, r.id desc limit 1`,
    ])
    const findings = hosts.map(({ name, kind, refused }) =>
      finding(
        'host_stuck',
        String(name),
        refused
          ? `Neon refused to create it: ${refused}`
          : `Nobody is opening it: ${kind === 'project' ? 'retry its tenant, or erase it' : 'the next tenant that needs it will'}.`,
      ),
    )
    if (run?.state === 'stopped')
      findings.push(finding('migration_stopped', String(run.id), `It stopped: ${run.reason ?? 'it says nothing'}`))
    return {
      findings: 'subject' in chosen ? findings.filter(({ subject }) => subject === chosen.subject) : findings,
      checked: hosts.length + (run ? 1 : 0),
      next: null,
    }
  },
}
