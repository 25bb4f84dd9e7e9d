/**
 * Rotating the signing key of a tenant. Threat: a token is signed with a key that somebody who verifies it does not know, or its key is
 * gone before the token ends; a rotation stops half-way, or two make two keys; a key that signs nothing more can still be stolen. So a
 * key is published first, by a time that never comes; when KV has it, it gets its time, three minutes later; ten minutes after that the
 * private half of the former one is overwritten, and it is published until the last token that it signed has ended. Each step is one
 * conditional statement and may run again; the scheduled job goes on with what stopped (docs/decisions/0054-rotations.md).
 */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import { newTraceId } from '../../http/trace.ts'
import type { Config } from '../../kernel/config.ts'
import type { Ctx } from '../../kernel/context.ts'
import { batch } from '../../kernel/db.ts'
import type { Env } from '../../kernel/env.ts'
import { log } from '../../kernel/log.ts'
import { Problem } from '../../kernel/problem.ts'
import { rfc3339, rowsOf } from '../../kernel/wire.ts'
import { propagate, type Sources } from '../lifecycle/lifecycle.ts'
import { KNOWN } from '../lifecycle/rotation.ts'
import { openOwnerUrl } from '../provisioning/owner-url.ts'
import { newSigningKey, sealPrivate } from '../registry/keys.ts'

export const SigningKeyRotation = z
  .object({
    kid: z.string().openapi({ description: 'The `kid` of the new key, which `/.well-known/jwks.json` shows' }),
    used_from: z.iso
      .datetime()
      .nullable()
      .openapi({ description: 'From then on it signs; null: it is not known everywhere yet, and the scheduled job goes on' }),
  })
  .openapi('SigningKeyRotation')
type SigningKeyRotation = z.infer<typeof SigningKeyRotation>

type Newest = { status: string; kid: string | null; use_from: string; is_coming: boolean; published: number }

/** Until then a key is published and not used: it has no time yet. */
const NEVER = sql`'9999-01-01 00:00+00'::timestamptz`
/** How long no isolate has signed with a former key when its private half is destroyed, in which KV may be late. */
const UNUSED = sql`interval '10 minutes'`
/** The longest life that a tenant may give its access tokens. */
const LONGEST_MINUTES = 10_080
/** Tenants of one run of the scheduled job: an invocation has 1,000 subrequests. */
const MOST = 20

/**
 * Publishes a new signing key in the master, or finds the one that is on its way; `spreadSigningKey` goes on. One round trip to the
 * master; `tenant:update`. Fails with not_found, illegal_state (the tenant is not active or inactive, its key was rotated in the last half
 * hour, or eight keys are published).
 */
export async function beginSigningKey(ctx: Ctx, id: string): Promise<void> {
  const { kid, public_jwk, private_jwk } = await newSigningKey(ctx.config, id)
  const [added] = await ctx.run(
    ctx.db.execute(sql`select platform.add_signing_key(${id}, ${kid}, ${public_jwk}::jsonb, ${private_jwk}) as newest`),
  )
  const newest = rowsOf<{ newest: Newest | null }>(added)[0]?.newest
  if (!newest) throw new Problem('not_found')
  const { status, published } = newest
  if (status !== 'active' && status !== 'inactive') throw new Problem('illegal_state', `The tenant is ${status}.`)
  if (newest.is_coming) return
  if (published >= 8)
    throw new Problem('illegal_state', 'Eight signing keys are published: rotate again when tokens of the oldest have ended.')
  const used_from = new Date(newest.use_from).toISOString()
  throw new Problem('illegal_state', `The signing key that is used from ${used_from} is new: rotate it again half an hour later.`)
}

/**
 * Does what can be done now of the rotation of a tenant's signing key; repeatable, and by several at once. Eight round trips to the
 * master and two to the tenant's database, at most. Fails when one of them does not answer: the scheduled job goes on.
 */
export async function spreadSigningKey(sources: Sources, id: string): Promise<SigningKeyRotation> {
  const { config, trace_id } = sources
  await propagate(sources, id)
  const [timed = []] = await batch(
    config.MASTER_DATABASE_URL,
    [
      // Only when KV has the newest version, which has the key: all know it when it is used, however long KV was away.
      sql`update platform.signing_keys k set use_from = now() + ${KNOWN} from platform.tenants t
          where t.id = k.realm_id and t.id = ${id} and k.use_from = ${NEVER} and t.published_v = t.v returning k.kid`,
    ],
    trace_id,
  )
  if (timed.length) await propagate(sources, id)
  const [[newest] = []] = await batch(config.MASTER_DATABASE_URL, [
    sql`select k.kid, case when k.use_from < ${NEVER} then ${rfc3339('k.use_from')} end as used_from
        from platform.signing_keys k where k.realm_id = ${id} order by k.use_from desc limit 1`,
  ])
  if (!newest) throw new Problem('not_found')
  return newest as SigningKeyRotation
}

/** For the scheduled job: goes on with rotations of signing keys. Returns how many keys it had to do with. */
export async function tendSigningKeys(env: Env, config: Config, trace_id = newTraceId()): Promise<number> {
  const sources = { env, config, meter: { master: 0 }, trace_id }
  const [coming = [], former = [], gone = []] = await batch(
    config.MASTER_DATABASE_URL,
    [
      sql`select k.realm_id from platform.signing_keys k join platform.tenants t on t.id = k.realm_id
          where k.follows is not null and k.use_from = ${NEVER} and t.status in ('active', 'inactive', 'deleted') order by random() limit ${MOST}`,
      // KV has the time of the newer key: elsewhere the former one may still sign.
      sql`select f.kid, f.realm_id, t.owner_url_encrypted as owner from platform.signing_keys k
            join platform.signing_keys f on f.kid = k.follows join platform.tenants t on t.id = f.realm_id
          where k.use_from < now() - ${UNUSED} and f.published_until is null and t.published_v = t.v and t.status in ('active', 'inactive', 'deleted')
          order by random() limit ${MOST}`,
      sql`delete from platform.signing_keys f where f.published_until < now() returning f.kid`,
      // A change of the newer key is a new version of its tenant, which is propagated without the former one.
      sql`update platform.signing_keys k set follows = null where k.follows is not null and not exists (select from platform.signing_keys f where f.kid = k.follows)`,
    ],
    trace_id,
  )
  const attempt = (realm_id: unknown, work: () => Promise<unknown>) =>
    work().catch((error) =>
      log('signing key not rotated', {
        tenant: String(realm_id),
        trace_id,
        error: error instanceof Error ? error.message : String(error),
      }),
    )
  for (const { realm_id } of coming) await attempt(realm_id, () => spreadSigningKey(sources, String(realm_id)))
  for (const key of former) await attempt(key.realm_id, () => retire(config, key, trace_id))
  return coming.length + former.length + gone.length
}

/** Destroys the private half of a key that signs nothing more, and says until when tokens may be verified with it. */
async function retire(config: Config, { kid, realm_id, owner }: Record<string, unknown>, trace_id: string): Promise<void> {
  const destroyed = await sealPrivate(config, String(realm_id), String(kid), null)
  const minutes = await longestLife(config, String(realm_id), String(owner)).catch(() => LONGEST_MINUTES)
  await batch(
    config.MASTER_DATABASE_URL,
    [
      sql`update platform.signing_keys f set private_jwk_encrypted = ${destroyed}, published_until = now() + make_interval(mins => ${minutes + 5}::integer)
          where f.kid = ${kid} and f.published_until is null`,
    ],
    trace_id,
  )
}

/** The longest life, in minutes, of an access token that this tenant gave out in the last week: its settings now, and those that its audit has. */
async function longestLife(config: Config, id: string, owner: string): Promise<number> {
  const [, [row] = []] = await batch(await openOwnerUrl(config, id, owner), [
    sql`set local role freehold_owner`,
    sql`select greatest(max(t.access_minutes), max((d.before ->> 'access_minutes')::integer)) as minutes
        from freehold.tenant t left join freehold.audit_log l on l.resource_type = 'tenant' and l.at > now() - interval '8 days'
          left join freehold.audit_detail d on d.log_id = l.id`,
  ])
  return Number(row?.minutes) || LONGEST_MINUTES
}
