import { type SQL, sql } from 'drizzle-orm'
import { tenantOfBranch } from './names.ts'

export type Branch = { id: string; name: string }

/**
 * Of these branches, the ids of those that the master knows: of a tenant, one that is kept of before a migration, one that an undo
 * or a restore left, or all that a tenant has left by a move and that is not removed yet. What is kept is recorded before Neon is asked for it, with the name that it will have.
 */
export function knownBranches(branches: Branch[]): SQL {
  const ours = branches.map(({ id, name }) => ({ id, name, tenant_id: tenantOfBranch(name) }))
  return sql`select b.id from jsonb_to_recordset(${JSON.stringify(ours)}::jsonb) as b (id text, name text, tenant_id uuid)
    join platform.tenants t on t.id = b.tenant_id left join platform.hosts h on h.id = t.host_id
    where b.name = 'tenant-' || t.id or b.id = coalesce(t.branch_id, h.branch_id)
      or exists (select from platform.tenant_moves v where v.tenant_id = t.id and v.from_isolation in ('branch', 'project') and v.left_until is not null)
      or exists (select from platform.kept_branches k where k.tenant_id = t.id
        and (b.id = k.branch_id or b.name = format('tenant-%s-before-%s-%s', t.id, substring(k.target from '/([0-9]+)'), k.attempt)))
      or exists (select from platform.migration_undos u where u.tenant_id = t.id and (b.id = u.parent_id or b.id = u.branch_id and u.state = 'running'))
      or exists (select from platform.restore_points r where r.tenant_id = t.id and (r.removed_at is null or r.state = 'restored')
        and (b.id in (r.parent_id, r.branch_id) or b.name = format('tenant-%s-at-%s', t.id, left(r.id::text, 8))))`
}
