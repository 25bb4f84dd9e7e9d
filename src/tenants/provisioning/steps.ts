import { sql } from 'drizzle-orm'
import { batch } from '../../kernel/db.ts'
import type { Env } from '../../kernel/env.ts'
import { decrypt, encrypt } from '../../kernel/keyring.ts'
import { newToken, systemKeyOf } from '../../kernel/token.ts'
import { presets } from '../../presets/presets.ts'
import { presetVersion } from '../../presets/version.ts'
import { firstSigningKey } from '../registry/keys.ts'
import { ENTRY, type Entry, forgetUnknown, kvKey } from '../registry/registry.ts'
import { signed } from '../registry/signature.ts'
import { STANDING, tell } from '../registry/standing.ts'
import { tenantMigrations } from './bundled.ts'
import { isolations } from './isolation.ts'
import { type Job, sealUrls } from './job.ts'
import { migrate } from './migrations.ts'
import { type OperationRef, waitFor } from './neon.ts'
import { openOwnerUrl } from './owner-url.ts'
import { type FirstAdmin, firstAdministrator, seed, systemKey, takeOver } from './seed.ts'
import { verifyIsolation } from './verify-isolation.ts'

/** What a step returns for later steps; recorded in the master, so never a secret. */
export type Result = Record<string, unknown> | undefined
type Step = (job: Job & { env: Env; results: Record<string, Result> }) => Promise<Result>

/**
 * The provisioning steps, in order. Each may run again after it succeeded or stopped half-way: names are deterministic, passwords
 * are recorded before they are used, and existing resources are adopted. `reserve` is done by the statement that inserts the
 * tenant.
 */
export const steps: Record<string, Step> = {
  reserve: async () => undefined,

  place: async (job) => void (await isolationOf(job).place(job)),

  database: async (job) => ({ operations: await isolationOf(job).create(job) }),

  operations: async (job) => void (await waitFor(job.neon, (job.results.database?.operations ?? []) as OperationRef[])),

  logins: async (job) => {
    const { config, tenant, trace_id } = job
    const made = { app: newToken(), owner: newToken() }
    const urls =
      tenant.app_url && tenant.owner_url
        ? { app_url: tenant.app_url, owner_url: tenant.owner_url }
        : await isolationOf(job).urls(job, made)
    const { app_url, owner_url } = await sealUrls(config, tenant.id, urls)
    const record = [
      sql`update platform.tenants set app_url_encrypted = ${app_url}, owner_url_encrypted = ${owner_url} where id = ${tenant.id} and app_url_encrypted is null`,
      sql`select app_url_encrypted, owner_url_encrypted from platform.tenants where id = ${tenant.id}`,
    ]
    const [, kept] = await batch(config.MASTER_DATABASE_URL, record, trace_id)
    // The recorded passwords count, not those generated here: another instance may have been first.
    const { app_url_encrypted, owner_url_encrypted } = kept?.[0] ?? {}
    await isolationOf(job).logins(job, {
      app_url: await decrypt(config.ENCRYPTION_KEYS, tenant.id, 'app_url', String(app_url_encrypted)),
      owner_url: await openOwnerUrl(config, tenant.id, String(owner_url_encrypted)),
    })
  },

  migrate: async ({ config, tenant, trace_id }) => {
    const newest = await migrate(known(tenant.owner_url), tenantMigrations, trace_id)
    const record = [sql`update platform.tenants set schema_version = ${newest} where id = ${tenant.id}`]
    await batch(config.MASTER_DATABASE_URL, record, trace_id)
  },

  seed: async ({ config, tenant, trace_id }) => {
    const statements = [...seed(tenant, presetOf(tenant)), ...(tenant.host?.found?.has_tenant ? takeOver(tenant) : [])]
    const [[found] = []] = await batch(config.MASTER_DATABASE_URL, [
      sql`select ${STANDING} as standing from platform.tenants t where t.id = ${tenant.id}`,
    ])
    await batch(known(tenant.owner_url), [...statements, ...tell(tenant.id, found?.standing, 0)], trace_id)
    await batch(config.MASTER_DATABASE_URL, [
      sql`update platform.tenants set presets_version = ${presetVersion(tenant.role_preset)} where id = ${tenant.id}`,
    ])
  },

  administrator: async ({ config, tenant, trace_id }) => {
    const admin = JSON.parse(known(tenant.initial_admin)) as FirstAdmin
    await batch(known(tenant.owner_url), firstAdministrator(admin, presetOf(tenant)), trace_id)
    await batch(config.MASTER_DATABASE_URL, [
      sql`update platform.tenants set users_counted = greatest(users_counted, 1) where id = ${tenant.id}`,
    ])
  },

  signing_key: async ({ config, tenant, trace_id }) => {
    const refresh_key = await encrypt(config.ENCRYPTION_KEYS, tenant.id, 'refresh_key', newToken())
    const record = [
      await firstSigningKey(config, tenant.id),
      sql`update platform.tenants set refresh_key_encrypted = ${refresh_key} where id = ${tenant.id} and refresh_key_encrypted is null`,
      sql`select refresh_key_encrypted from platform.tenants where id = ${tenant.id}`,
    ]
    const [, , [kept] = []] = await batch(config.MASTER_DATABASE_URL, record, trace_id)
    const opened = await decrypt(config.ENCRYPTION_KEYS, tenant.id, 'refresh_key', String(kept?.refresh_key_encrypted))
    await batch(known(tenant.owner_url), systemKey(await systemKeyOf(opened)), trace_id)
  },

  prove: async ({ config, tenant }) => {
    const { hostname } = new URL(known(tenant.app_url))
    const [rows, [own] = []] = await batch(config.MASTER_DATABASE_URL, [
      sql`select t.app_url_encrypted, t.id from platform.tenants t join platform.hosts h on h.id = t.host_id
          where (h.id = ${tenant.host?.id} or split_part(h.address, '/', 1) = ${hostname}) and t.id <> ${tenant.id} and t.status = 'active' limit 1`,
      sql`select refresh_key_encrypted from platform.tenants where id = ${tenant.id}`,
    ])
    const refresh_key = await decrypt(config.ENCRYPTION_KEYS, tenant.id, 'refresh_key', String(own?.refresh_key_encrypted))
    const urls = { app_url: known(tenant.app_url), owner_url: known(tenant.owner_url) }
    const proven = { id: tenant.id, ...urls, system_key: await systemKeyOf(refresh_key) }
    const other =
      rows?.[0] && (await decrypt(config.ENCRYPTION_KEYS, String(rows[0].id), 'app_url', String(rows[0].app_url_encrypted)))
    // An adopted database is its host's only one.
    const host = tenant.host?.found ? [] : [known(tenant.host?.owner_url)]
    await verifyIsolation(proven, [config.MASTER_DATABASE_URL, ...host, ...(other ? [other] : [])])
  },

  // KV is written before the tenant becomes active: other locations would cache a miss.
  publish: async ({ env, config, tenant }) => {
    const [rows] = await batch(config.MASTER_DATABASE_URL, [
      sql`select ${ENTRY} as entry, nextval('platform.registry_v')::integer as v from platform.tenants t where t.id = ${tenant.id} and t.status = 'provisioning'`,
    ])
    // Already done, but the answer was lost: the tenant may have been deactivated since.
    if (!rows?.[0]) return undefined
    const entry = { ...(rows[0].entry as Entry), status: 'active' as const, v: Number(rows[0].v) }
    await env.TENANTS.put(kvKey(tenant.subdomain), await signed(config, entry))
    forgetUnknown(tenant.subdomain)
    return { v: entry.v }
  },

  activate: async ({ config, tenant, results, trace_id }) => {
    const v = Number(results.publish?.v)
    const record = [
      // Below zero: the entry was taken for one of nobody, and is to be written again (lifecycle/kv-pass.ts). Less than v: the
      // scheduled job tells the database its limits and license once more, which may have changed since they were seeded.
      sql`update platform.tenants t set status = 'active', initial_admin_encrypted = null, v = ${v}, published_v = case when published_v < 0 then published_v when ${STANDING} <> '{"limits": {}}' then ${v} - 1 else ${v} end, updated_at = now()
          where id = ${tenant.id} and status = 'provisioning'`,
      // In the same transaction, so that nobody sees an active tenant whose last step is still running.
      sql`update platform.provisioning_steps set state = 'done', finished_at = now() where tenant_id = ${tenant.id} and name = 'activate'`,
    ]
    await batch(config.MASTER_DATABASE_URL, record, trace_id)
    return undefined
  },
}

export const stepNames = Object.keys(steps)

const isolationOf = ({ tenant }: Job) => {
  const isolation = Object.hasOwn(isolations, tenant.isolation) ? isolations[tenant.isolation] : undefined
  if (!isolation) throw new Error(`There is no isolation ${tenant.isolation}.`)
  return isolation
}

const presetOf = (tenant: Job['tenant']) => {
  const preset = Object.hasOwn(presets, tenant.role_preset) ? presets[tenant.role_preset] : undefined
  if (!preset) throw new Error(`There is no preset ${tenant.role_preset}.`)
  return preset
}

function known(value: string | null | undefined): string {
  if (!value) throw new Error('An earlier step did not leave what this one needs.')
  return value
}
