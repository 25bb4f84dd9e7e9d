/**
 * How a tenant stands with the platform: its limits and its license, as its own database is told. Threat: a limit that the master says
 * and the database does not know, or one that an older request leaves there after a newer one. So they are written with the version of
 * the registry that they belong to, and only while the database has that one.
 */
import { type SQL, sql } from 'drizzle-orm'
import type { UsedThen } from './limits.ts'

/** What a tenant's database is told, as JSON, from `platform.tenants t`. */
export const STANDING = sql`jsonb_build_object('limits', platform.effective_limits(t.id, t.plan, t.limits)) || coalesce(platform.license_of(t.id), '{}')
  || coalesce((select jsonb_build_object('documents', max(u.documents)) from platform.migration_undos u where u.tenant_id = t.id having max(u.documents) is not null), '{}')`

/**
 * The statements that tell a tenant's database, as freehold_owner, while it has this version. One that has the schema of an earlier
 * release is told after its migration, and one that is being moved after that: both are new versions.
 */
export const tell = (tenant_id: string, standing: unknown, v: number): SQL[] => [
  sql`select set_config('freehold.standing', ${JSON.stringify({ ...(standing as object), tenant_id, v })}, true)`,
  sql.raw(`do $$ declare said jsonb := current_setting('freehold.standing'); begin
    if to_regprocedure('access.set_limits(jsonb)') is not null
      and exists (select from freehold.tenant t where t.id = (said ->> 'tenant_id')::uuid and t.v = (said ->> 'v')::bigint and to_jsonb(t) ->> 'writes_closed_by' is null)
    then
      update freehold.tenant t set licensed_until = (said ->> 'licensed_until')::timestamptz, read_only_from = (said ->> 'read_only_from')::timestamptz
      where (t.licensed_until, t.read_only_from) is distinct from ((said ->> 'licensed_until')::timestamptz, (said ->> 'read_only_from')::timestamptz);
      -- Counted in a branch that an undo left. Counts only grow.
      insert into access.limits as l (name, used) select 'documents', (said ->> 'documents')::bigint where said ->> 'documents' is not null
      on conflict on constraint limits_pkey do update set used = greatest(l.used, excluded.used);
      perform set_config('freehold.used', access.set_limits(said -> 'limits')::text, true);
    end if;
  end $$`),
  sql`select nullif(current_setting('freehold.used', true), '')::jsonb as used`,
]

/** What a database answered to `tell`, whose rows are the last ones; null: nothing. */
export const toldBack = (rows: Record<string, unknown>[][]): UsedThen | null => usedNow(rows.at(-1)?.[0]?.used)

/** What a tenant's database said is used, as of now. */
export const usedNow = (used: unknown): UsedThen | null =>
  used ? { ...(used as Omit<UsedThen, 'as_of'>), as_of: new Date().toISOString() } : null
