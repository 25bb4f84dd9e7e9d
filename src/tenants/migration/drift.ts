/**
 * Drift: what a tenant's database is, against what the migrations make. Threat: somebody changed it by hand (a policy, a grant, a
 * function), and nobody knows; or a tool that finds it puts back what was changed for a reason. So it is named, and nothing is changed.
 */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import type { Config } from '../../kernel/config.ts'
import type { Ctx } from '../../kernel/context.ts'
import { batch, dbError } from '../../kernel/db.ts'
import { Problem } from '../../kernel/problem.ts'
import { rowsOf } from '../../kernel/wire.ts'
import { tenantFingerprint, tenantMigrations } from '../provisioning/bundled.ts'
import { jobOf, type MasterRow } from '../provisioning/job.ts'
import { checksumOf } from '../provisioning/migrations.ts'
import { FINGERPRINT, type Fingerprint, fingerprintOf, STEADY, unpack } from './fingerprint.ts'
import { NEWEST } from './versions.ts'

const State = z.enum(['changed', 'missing', 'added'])
const Drifted = z.object({
  object: z.string().openapi({ description: 'As `function access.admit` or `policy read on freehold.users`' }),
  state: State,
})
type Drifted = z.infer<typeof Drifted>

export const TenantDrift = z
  .object({
    schema_version: z.string().nullable().openapi({ description: 'The newest migration in the ledger of its database' }),
    is_compared: z.boolean().openapi({
      description:
        'Whether the objects were compared: those of the newest schema are. On another, `drift` is empty and the ledger is checked',
    }),
    drift: z.array(Drifted).openapi({ description: 'Objects that are not as the migrations make them' }),
    ledger: z.array(z.object({ migration: z.string(), state: State })).openapi({
      description: 'Migrations with another checksum, that are missing before one that was applied, or of another release',
    }),
  })
  .openapi('TenantDrift')
export type TenantDrift = z.infer<typeof TenantDrift>

/** What the report of a run keeps of a tenant's drift: all of it counted, and the first of it by name. */
export const DriftSummary = z.object({ count: z.int(), objects: z.array(Drifted) }).openapi('DriftSummary')
const MOST_NAMED = 20

/** The objects that differ, by name. */
export function differencesBetween(wanted: Fingerprint, found: Fingerprint): Drifted[] {
  const names = [...new Set([...wanted.keys(), ...found.keys()])].sort()
  return names.flatMap((object): Drifted[] => {
    const [one, other] = [wanted.get(object), found.get(object)]
    if (one === other) return []
    return [{ object, state: one === undefined ? 'added' : other === undefined ? 'missing' : 'changed' }]
  })
}

/**
 * The migrations of a ledger that are not as ours. Those after its newest are no drift: the tenant is behind. Of a database that has
 * no ledger all are missing.
 */
async function ledgerDrift(applied: Map<string, unknown>): Promise<TenantDrift['ledger']> {
  const last = applied.size ? tenantMigrations.findLastIndex(({ name }) => applied.has(name)) : tenantMigrations.length
  const known = await Promise.all(
    tenantMigrations.slice(0, last + 1).map(async (migration): Promise<TenantDrift['ledger']> => {
      const { name } = migration
      if (!applied.has(name)) return [{ migration: name, state: 'missing' }]
      return applied.get(name) === (await checksumOf(migration)) ? [] : [{ migration: name, state: 'changed' }]
    }),
  )
  const strangers = [...applied.keys()].filter((name) => !tenantMigrations.some((migration) => migration.name === name))
  return [...known.flat(), ...strangers.map((migration) => ({ migration, state: 'added' as const }))]
}

/** The drift of the database that an owner login connects to. One round trip, which writes nothing. Fails as `batch` does. */
export async function readDrift(owner_url: string): Promise<TenantDrift> {
  const [, , ledger = [], , objects = []] = await batch(owner_url, [
    sql`set transaction read only`,
    sql`set local role freehold_owner`,
    sql`select name, to_jsonb(m) ->> 'checksum' as checksum from freehold.migrations m`,
    sql.raw(STEADY),
    sql.raw(FINGERPRINT),
  ]).catch((error) => {
    if (dbError(error)?.code !== '42P01') throw error
    return []
  })
  const applied = new Map(ledger.map(({ name, checksum }) => [String(name), checksum]))
  const schema_version =
    [...applied.keys()]
      .filter((name) => name.startsWith('tenant/'))
      .sort()
      .at(-1) ?? null
  const is_compared = schema_version === NEWEST
  const drift = is_compared ? differencesBetween(unpack(JSON.parse(await tenantFingerprint())), fingerprintOf(objects)) : []
  return { schema_version, is_compared, drift, ledger: await ledgerDrift(applied) }
}

/** For the report of a run: objects and migrations; null when they were not compared. */
export function summaryOf({ is_compared, drift, ledger }: TenantDrift): z.infer<typeof DriftSummary> | null {
  if (!is_compared) return null
  const all = [...ledger.map(({ migration, state }) => ({ object: `migration ${migration}`, state })), ...drift]
  return { count: all.length, objects: all.slice(0, MOST_NAMED) }
}

/** Compares a tenant's database again, for the report of its last migration. Returns how many objects differ. Fails as `batch` does. */
export async function compareAgain(config: Config, id: string, trace_id: string): Promise<number> {
  const [rows] = await batch(config.MASTER_DATABASE_URL, [
    sql`select t.id, t.owner_url_encrypted from platform.tenants t where t.id = ${id}`,
  ])
  const { owner_url } = (await jobOf(config, (rows?.[0] ?? {}) as MasterRow, null, trace_id)).tenant
  const drift = owner_url ? summaryOf(await readDrift(owner_url)) : null
  await batch(config.MASTER_DATABASE_URL, [
    sql`update platform.tenant_migrations m set drift = ${drift && JSON.stringify(drift)}::jsonb where m.tenant_id = ${id} and m.target = ${NEWEST} and m.state = 'done'`,
  ])
  return drift?.count ?? 0
}

/**
 * The drift of a tenant, now. Two round trips to the master, one to the tenant's database; `tenant:read`. Fails with not_found,
 * illegal_state (it has no database), database_unavailable.
 */
export async function getDrift(ctx: Ctx, id: string): Promise<TenantDrift> {
  const [result] = await ctx.run(ctx.db.execute(sql`select t.status from platform.tenants t where t.id = ${id}`))
  const [tenant] = rowsOf<{ status: string }>(result)
  if (!tenant) throw new Problem('not_found')
  const [rows] = await batch(ctx.config.MASTER_DATABASE_URL, [
    sql`select t.id, t.owner_url_encrypted from platform.tenants t where t.id = ${id}`,
  ])
  const { owner_url } = (await jobOf(ctx.config, (rows?.[0] ?? {}) as MasterRow, null, ctx.request.trace_id)).tenant
  const { status } = tenant
  if (!owner_url || !['active', 'inactive', 'deleted'].includes(status))
    throw new Problem('illegal_state', `The tenant is ${status}.`)
  return readDrift(owner_url).catch((cause) => {
    throw dbError(cause) ? new Problem('database_unavailable', undefined, { cause }) : cause
  })
}
