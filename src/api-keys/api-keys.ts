/**
 * API keys, with which programs act for a user. Threat: a key does more than was meant, works for longer than it should, or
 * creates another key. Triggers and policies decide which permissions a key may name, and who reads and revokes it
 * (src/api-keys/api-keys.sql); only its SHA-256 is stored.
 */
import { type SQL, sql } from 'drizzle-orm'
import { create } from '../idempotency/idempotency.ts'
import { newKey } from '../kernel/api-key.ts'
import type { Ctx } from '../kernel/context.ts'
import { paged, readCursor } from '../kernel/cursor.ts'
import { brokenConstraint } from '../kernel/db.ts'
import { Problem } from '../kernel/problem.ts'
import { tokenHash } from '../kernel/token.ts'
import { rfc3339, rowsOf } from '../kernel/wire.ts'
import { deliver } from '../mail/mail.ts'
import { mapConstraintErrors } from '../roles/wire.ts'
import { exists, requireExisting, requireReach } from '../users/reports.ts'
import type { ApiKey, ApiKeyList, ApiKeyPatch, MadeApiKey, NewApiKey, Query, Rotation } from './wire.ts'

const CALLER = sql`(select access.principal())`
/** The last moment that RFC 3339 can express. */
const MAX_TIMESTAMP = '9999-12-31T23:59:59.999999Z'
const columns = sql`k.id, k.name, k.prefix, k.permissions, k.addresses, k.rotated_from, ${rfc3339('k.created_at')} as created_at,
  ${rfc3339('k.expires_at')} as expires_at, ${rfc3339('k.last_used_at')} as last_used_at, k.use_count::float8 as use_count`
/** When a key expires of which nobody said when: as the settings say. */
const DEFAULT_EXPIRY = sql`(select case when t.api_key_days > 0 then now() + make_interval(days => t.api_key_days) end from freehold.tenant t)`
const own = (id: string) => sql`k.id = ${id} and k.user_id = ${CALLER} and k.revoked_at is null`
const texts = (list: string[]) => sql`array(select jsonb_array_elements_text(${JSON.stringify(list)}::jsonb))`

/**
 * Creates an API key of the caller, and mails them that there is one; `key` is returned only once. Without `expires_at` it expires as
 * the settings say (`api_key_days`); with null it never does. One round trip. Fails with invalid_request (no such permission,
 * an invalid network, an expiry in the past), forbidden (a permission that the caller does not hold), limit_reached.
 */
export async function createKey(ctx: Ctx, { name, permissions, addresses = [], expires_at }: NewApiKey): Promise<MadeApiKey> {
  const { prefix, key } = newKey()
  const hash = await tokenHash(key)
  const [made] = await create<MadeApiKey>(ctx, {
    made: sql`made as (insert into freehold.api_keys as k (id, user_id, name, prefix, key_hash, permissions, addresses, expires_at)
      values (${crypto.randomUUID()}, ${CALLER}, ${name}, ${prefix}, ${hash}::bytea, ${texts(permissions)}, ${texts(addresses)}, ${expires_at === undefined ? DEFAULT_EXPIRY : sql`${expires_at}::timestamptz`})
      returning ${columns})`,
    secrets: { key },
  })
  if (!made) throw new Problem('not_found')
  ctx.later(deliver(ctx))
  return made
}

/**
 * Rotates a key: creates a successor with the same name, permissions, addresses and lifetime. The old key expires after the
 * overlap, and the owner is mailed. One round trip. Fails with not_found, illegal_state (it was already rotated, or has expired), limit_reached.
 */
export async function rotateKey(ctx: Ctx, id: string, { overlap_minutes }: Rotation): Promise<MadeApiKey> {
  const { prefix, key } = newKey()
  const hash = await tokenHash(key)
  const [made, , seen] = await mapConstraintErrors(
    create<MadeApiKey>(ctx, {
      // The new key locks its owner, and whoever revokes all keys of a user locks the user first, too.
      before: [sql`select access.lock_user(${CALLER})`, one(id)],
      made: sql`old as (
          update freehold.api_keys k set expires_at = least(k.expires_at, now() + make_interval(mins => ${overlap_minutes}))
          from freehold.api_keys was where ${own(id)} and was.id = k.id and not exists (select from freehold.api_keys s where s.rotated_from = k.id)
          returning k.id, k.user_id, k.name, k.permissions, k.addresses, was.expires_at - was.created_at as lifetime
        ), made as (insert into freehold.api_keys as k (id, user_id, name, prefix, key_hash, permissions, addresses, rotated_from, expires_at)
        select ${crypto.randomUUID()}, o.user_id, o.name, ${prefix}, ${hash}::bytea, o.permissions, o.addresses, o.id,
          case when o.lifetime is not null then least(now() + o.lifetime, ${MAX_TIMESTAMP}::timestamptz) end from old o
        returning ${columns})`,
      secrets: { key },
    }),
    // Of concurrent rotations one succeeds; the others end here, or below.
    (error) => (brokenConstraint(error) === 'api_keys_successor' ? rotated(error) : null),
  )
  if (made) {
    ctx.later(deliver(ctx))
    return made
  }
  oneOf(seen)
  throw rotated()
}

const rotated = (cause?: unknown) => new Problem('illegal_state', 'This key was rotated before: rotate its successor.', { cause })

/** The caller's keys that are not revoked, newest first, for a page that also asks for something else in its round trip. */
export const ownKeysQuery = (limit: number) => listing(CALLER, limit)

/** Lists the caller's keys that are not revoked, newest first. One round trip. Fails with invalid_cursor. */
export const ownKeys = (ctx: Ctx, page: Query) => listed(ctx, CALLER, 'api-keys', page)

/**
 * Lists the keys of a user that are not revoked, newest first. One round trip; `api_key:read`. Fails with not_found,
 * invalid_cursor.
 */
export const keysOf = (ctx: Ctx, id: string, page: Query) =>
  listed(ctx, sql`${id}`, `api-keys:${id}`, page, requireReach(id), exists(id))

const listing = (owner: SQL, limit: number, after = sql``) =>
  sql`select ${columns} from freehold.api_keys k where k.user_id = ${owner} and k.revoked_at is null ${after}
    order by k.created_at desc, k.id desc limit ${limit}`

async function listed(ctx: Ctx, owner: SQL, list: string, { limit, cursor }: Query, ...before: SQL[]): Promise<ApiKeyList> {
  const [at, last] = (await readCursor(ctx.realm, list, cursor)) ?? []
  const after = at ? sql`and (k.created_at, k.id) < (${at}::timestamptz, ${last}::uuid)` : sql``
  const page = listing(owner, limit + 1, after)
  const results = await ctx.run(...[...before, page].map((statement) => ctx.db.execute(statement)))
  if (before.length) requireExisting(results[before.length - 1])
  return paged(ctx.realm, list, rowsOf<ApiKey>(results.at(-1)), limit, (row) => [row.created_at, row.id])
}

/** Gets a key of the caller. One round trip. Fails with not_found. */
export async function getKey(ctx: Ctx, id: string): Promise<ApiKey> {
  const [result] = await ctx.run(ctx.db.execute(one(id)))
  return oneOf(result)
}

/**
 * Updates a key of the caller. One round trip. Fails as createKey does, with not_found, and illegal_state (it has expired or was
 * rotated).
 */
export async function patchKey(ctx: Ctx, id: string, patch: ApiKeyPatch): Promise<ApiKey> {
  const { name, permissions, addresses, expires_at } = patch
  const sets = [
    ...(name === undefined ? [] : [sql`name = ${name}`]),
    ...(permissions === undefined ? [] : [sql`permissions = ${texts(permissions)}`]),
    ...(addresses === undefined ? [] : [sql`addresses = ${texts(addresses)}`]),
    ...(expires_at === undefined ? [] : [sql`expires_at = ${expires_at}::timestamptz`]),
  ]
  if (!sets.length) return getKey(ctx, id)
  const [result] = await ctx.run(
    ctx.db.execute(sql`update freehold.api_keys k set ${sql.join(sets, sql`, `)} where ${own(id)} returning ${columns}`),
  )
  return oneOf(result)
}

/** Revokes a key of the caller, for good. One round trip. Fails with not_found, also when it is already revoked. */
export const revokeKey = (ctx: Ctx, id: string) => revoked(ctx, own(id))

/** Revokes a key of a user. One round trip; `api_key:delete`. Fails with not_found, forbidden (a key that the caller can only read). */
export const revokeKeyOf = (ctx: Ctx, user_id: string, id: string) =>
  revoked(
    ctx,
    sql`k.id = ${id} and k.user_id = ${user_id} and k.revoked_at is null`,
    sql`select access.require_reach('api_key', ${id}::uuid, ${user_id}::uuid)`,
  )

async function revoked(ctx: Ctx, which: SQL, ...before: SQL[]): Promise<void> {
  const revoking = sql`update freehold.api_keys k set revoked_at = now() where ${which} returning k.id`
  const results = await ctx.run(...[...before, revoking].map((statement) => ctx.db.execute(statement)))
  if (!rowsOf(results.at(-1)).length) throw new Problem('not_found')
}

const one = (id: string) => sql`select ${columns} from freehold.api_keys k where ${own(id)}`

function oneOf(result: unknown): ApiKey {
  const [row] = rowsOf<ApiKey>(result)
  if (!row) throw new Problem('not_found')
  return row
}
