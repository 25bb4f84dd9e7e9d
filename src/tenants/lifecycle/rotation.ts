/**
 * Rotating the keys of a realm: its refresh key, the system key that is derived from it, and the keys of its database that sign
 * claims and proofs. Threat: a key that leaked and works for ever; or a rotation that ends sessions, fails requests, or stops
 * half-way with a Worker and a database that do not know each other. So a new key is known before it is used: first to the database,
 * which accepts both keys; then to every isolate, from the master and KV; and three minutes later all of them use it. Every step is
 * one conditional statement and may run again (docs/decisions/0038-rotation-of-keys.md).
 */
import { type SQL, sql } from 'drizzle-orm'
import { newTraceId } from '../../http/trace.ts'
import type { Config } from '../../kernel/config.ts'
import { batch } from '../../kernel/db.ts'
import { decrypt, encrypt } from '../../kernel/keyring.ts'
import { newToken, systemKeyOf, tokenHash } from '../../kernel/token.ts'
import { rfc3339 } from '../../kernel/wire.ts'

/** From `used_from` on the new keys are used; until `former_until` the database accepts the former key of the system. */
export type KeyRotation = { used_from: string; former_until: string }

/** Memory of an isolate is 10 s old at most, KV a minute, what KV has cached another: after this all know the new key. */
export const KNOWN = sql`interval '180 seconds'`
/** How long the database accepts the former key of the system after that. */
const FORMER = sql`interval '10 minutes'`

/** True of a realm, a row `t`, whose last rotation is over. */
export const IS_DUE = sql`coalesce(t.refresh_key_from, '-infinity') < now() - interval '30 minutes'`

/** A KeyRotation, from a row `t`. */
export const TIMES = sql`${rfc3339('t.refresh_key_from')} as used_from, ${rfc3339("(t.refresh_key_from + interval '10 minutes')")} as former_until`

/**
 * Rotates the keys of the platform's own realm, whose database is the master: in one transaction, so that of several at once one
 * does. Two round trips. Fails with an Error when they were rotated in the last half hour.
 */
export async function rotatePlatformKeys(config: Config, trace_id = newTraceId()): Promise<KeyRotation> {
  const url = config.MASTER_DATABASE_URL
  const [[realm] = []] = await batch(url, [sql`select t.id, t.refresh_key_encrypted from platform.realm t`])
  if (!realm) throw new Error('The master has no realm of the platform: run `npm run freehold -- setup`.')
  const [id, known] = [String(realm.id), String(realm.refresh_key_encrypted)]
  const fresh = await encrypt(config.ENCRYPTION_KEYS, id, 'refresh_key', newToken())
  const is_ours = sql`exists (select from platform.realm t where t.refresh_key_encrypted = ${fresh})`
  const statements = [
    sql`set local role freehold_owner`,
    sql`update platform.realm t set refresh_key_encrypted = ${fresh}, former_refresh_key_encrypted = t.refresh_key_encrypted, refresh_key_from = now() + ${KNOWN}
        where t.refresh_key_encrypted = ${known} and ${IS_DUE}`,
    sql`select access.rotate_keys(${await systemHash(config, id, known)}::bytea, ${await systemHash(config, id, fresh)}::bytea) where ${is_ours}`,
    sql`update access.secrets s set former_system_until = now() + ${KNOWN} + ${FORMER} where ${is_ours} and s.former_system_until = 'infinity'`,
    sql`select access.record('REALM_UPDATED', 'rotate_keys', 'realm', t.id::text, null, jsonb_build_object('refresh_key_from', t.refresh_key_from)) from platform.realm t where ${is_ours}`,
    sql`select ${TIMES}, ${is_ours} as is_ours from platform.realm t`,
  ]
  const { used_from, former_until, is_ours: is_done } = (await batch(url, statements, trace_id)).at(-1)?.[0] ?? {}
  if (!is_done) throw new Error(`The keys that are used from ${used_from} are new: rotate them again half an hour later.`)
  return { used_from, former_until } as KeyRotation
}

/** By which a database knows the system key that is derived from an encrypted refresh key. */
export const systemHash = async (config: Config, id: string, sealed: string) =>
  tokenHash(await systemKeyOf(await decrypt(config.ENCRYPTION_KEYS, id, 'refresh_key', sealed)))

/**
 * The statement for a tenant's own database that ends its former system key, ten minutes after the new one is used. A database whose
 * newest key is not the registry's keeps both.
 */
export async function endOfFormerKey(config: Config, id: string, row: Record<string, unknown>): Promise<SQL[]> {
  if (!row.refresh_key_from) return []
  const newest = await systemHash(config, id, String(row.refresh_key_encrypted))
  return [
    sql`update access.secrets s set former_system_until = ${row.refresh_key_from}::timestamptz + ${FORMER}
        where s.system_hash = ${newest}::bytea and s.former_system_until = 'infinity'`,
  ]
}
