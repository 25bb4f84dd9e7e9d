/**
 * Certificates of erasures: a statement of what was destroyed, when and for whom, signed with the platform's key, which anybody can
 * verify with its JWKS. Threat: an erasure is certified that did not happen, or twice and differently, or the certificate keeps what
 * was to be erased. So it is inserted by the transaction that deletes the tenant's row, after Neon has deleted the rest; what was
 * found to be somebody else's, and left alone, is said to be; and it names ids, never people.
 */
import { z } from '@hono/zod-openapi'
import { type SQL, sql } from 'drizzle-orm'
import { importJWK, type JWTPayload, SignJWT } from 'jose'
import type { Config } from '../../kernel/config.ts'
import type { Ctx } from '../../kernel/context.ts'
import { batch } from '../../kernel/db.ts'
import { Problem } from '../../kernel/problem.ts'
import { rfc3339, rowsOf } from '../../kernel/wire.ts'
import type { Job } from '../provisioning/job.ts'
import { kvKey, platformRealm } from '../registry/registry.ts'

/** The `typ` of a certificate: no token has it. */
const TYPE = 'freehold-erasure+jwt'

export const ErasureCertificate = z
  .object({
    tenant_id: z.uuid(),
    subdomain: z.string().openapi({ description: 'That the tenant had; another may have it now' }),
    certificate: z.string().openapi({
      description:
        'A signed statement (JWS, ES256, `typ` freehold-erasure+jwt): what was destroyed, when, for whom, and the last checkpoint of the audit. Its key is in `/platform/v1/.well-known/jwks.json`',
    }),
    issued_at: z.iso.datetime(),
  })
  .openapi('ErasureCertificate')

/** The certificate of a tenant that was erased. One round trip; `tenant:read`. Fails with not_found. */
export async function getCertificate(ctx: Ctx, id: string): Promise<z.infer<typeof ErasureCertificate>> {
  const [found] = await ctx.run(
    ctx.db.execute(sql`select c.tenant_id, c.subdomain, c.certificate, ${rfc3339('c.issued_at')} as issued_at
      from platform.erasure_certificates c where c.tenant_id = ${id}`),
  )
  const [row] = rowsOf<z.infer<typeof ErasureCertificate>>(found)
  if (!row) throw new Problem('not_found', 'There is no certificate: no tenant with this id was erased.')
  return row
}

/** What was asked for last, from the platform's audit: entries under a checkpoint and the newer ones are found by different indexes. */
const REQUESTED = (id: string) =>
  sql.join(
    [sql`is not null`, sql`is null`].map(
      (state) => sql`select l.user_id, l.at from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id
        where l.resource_type = 'tenant' and l.resource_id = ${id} and l.checkpoint ${state} and d.after ->> 'status' = 'erasing'`,
    ),
    sql` union all `,
  )

/**
 * The statement that inserts the certificate of a tenant whose database and logins are gone, for the transaction that deletes its row.
 * `is_removed` is what its isolation said. Two round trips to the master at most.
 */
export async function certify(config: Config, { tenant, trace_id }: Job, is_removed: boolean): Promise<SQL> {
  const { id, subdomain, isolation, host } = tenant
  const [[known] = []] = await batch(config.MASTER_DATABASE_URL, [
    sql`select ${rfc3339('t.created_at')} as created_at, r.user_id as requested_by, ${rfc3339('coalesce(r.at, t.updated_at)')} as requested_at,
          (select h.address from platform.hosts h where h.id = t.host_id) as address,
          array(select s.name from platform.subdomains s where s.tenant_id = t.id union select t.subdomain order by 1) as names,
          array(select k.kid from platform.signing_keys k where k.realm_id = t.id order by k.kid) as signing_keys,
          array(select k.branch_id from platform.kept_branches k where k.tenant_id = t.id and k.branch_id is not null
            union select u.parent_id from platform.migration_undos u where u.tenant_id = t.id and u.state = 'done'
            union select x.branch_id from platform.restore_points r cross join lateral (values (r.parent_id), (r.branch_id)) x (branch_id)
              where r.tenant_id = t.id and x.branch_id is not null and r.removed_at is null) as beside,
          (select jsonb_build_object('no', a.no, 'hash', a.hash, 'entries', a.entries, 'checkpointed_at', ${rfc3339('a.checkpointed_at')})
            from platform.audit_heads a where a.realm_id = t.id) as audit_checkpoint
        from platform.tenants t left join lateral (select x.* from (${REQUESTED(id)}) x order by x.at desc limit 1) r on true where t.id = ${id}`,
  ])
  if (!known) return sql`select 1`
  const { created_at, requested_at, requested_by, signing_keys, audit_checkpoint } = known
  const own = isolation === 'branch' || isolation === 'project'
  const branches = [tenant.branch_id ?? host?.branch_id, ...(known.beside as string[])].filter(
    (branch, i, all) => branch && all.indexOf(branch) === i,
  )
  const is_gone = is_removed && host !== null
  const destroyed = {
    project: is_gone && isolation === 'project' ? host.project_id : null,
    branches: is_gone && own ? branches : [],
    database: is_gone && isolation !== 'external' ? tenant.database_name : null,
    schemas: is_gone ? ['access', 'freehold'] : [],
    logins: is_removed ? [tenant.app_url, tenant.owner_url].flatMap((url) => (url ? new URL(url).username : [])) : [],
    signing_keys,
    secrets: ['app_url', 'owner_url', 'refresh_key', 'system_key'],
    kv: (known.names as string[]).map(kvKey),
  }
  const at = host && { address: known.address, project: host.project_id || null, branch: host.branch_id || null }
  const now = new Date()
  const statement = {
    jti: crypto.randomUUID(),
    sub: id,
    iat: Math.floor(now.getTime() / 1000),
    tenant: { id, subdomain, isolation, created_at },
    at,
    destroyed,
    /** A database that has the tenant's name, and is not the tenant's. */
    left: is_removed ? null : tenant.database_name,
    requested_at,
    requested_by,
    erased_at: now.toISOString(),
    audit_checkpoint,
    trace_id,
  }
  const certificate = await signed(config, statement)
  return sql`insert into platform.erasure_certificates (tenant_id, subdomain, certificate)
    select t.id, t.subdomain, ${certificate} from platform.tenants t where t.id = ${id} and t.status = 'erasing' on conflict do nothing`
}

/** Signs a statement with the platform's newest key in use. Its `typ` is no token's, so nobody takes the one for the other (RFC 8725, 3.11). */
async function signed(config: Config, statement: JWTPayload): Promise<string> {
  const { keys, url } = await platformRealm({ config, meter: { master: 0 } })
  const now = new Date().toISOString()
  const key = keys.filter((one) => one.use_from <= now).sort((a, b) => (a.use_from < b.use_from ? 1 : -1))[0]
  if (!key) throw new Error('The platform has no signing key in use.')
  const header = { alg: 'ES256', typ: TYPE, kid: key.kid }
  return new SignJWT(statement)
    .setProtectedHeader(header)
    .setIssuer(url)
    .sign(await importJWK(key.private, 'ES256'))
}
