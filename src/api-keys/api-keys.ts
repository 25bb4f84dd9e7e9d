/**
 * Keys with which programs act for a person. Threat: a key that does more than was meant, works after it should, or makes itself another. What a key
 * may name, whose keys are seen and who revokes them, triggers and policies say (src/api-keys/api-keys.sql); only its SHA-256 is kept.
 */
import { type SQL, sql } from 'drizzle-orm'
import { newKey } from '../kernel/api-key.ts'
import type { Ctx } from '../kernel/context.ts'
import { paged, readCursor } from '../kernel/cursor.ts'
import { brokenConstraint } from '../kernel/db.ts'
import { Problem } from '../kernel/problem.ts'
import { tokenHash } from '../kernel/token.ts'
import { rfc3339, rowsOf } from '../kernel/wire.ts'
import { mapConstraintErrors } from '../roles/wire.ts'
import { exists, requireExisting } from '../users/reports.ts'
import type { ApiKey, ApiKeyList, ApiKeyPatch, MadeApiKey, NewApiKey, Query, Rotation } from './wire.ts'

const CALLER = sql`(select access.principal())`
/** RFC 3339 writes no later year. */
const LAST = '9999-12-31T23:59:59.999999Z'
const columns = sql`k.id, k.name, k.prefix, k.permissions, k.addresses, k.rotated_from, ${rfc3339('k.created_at')} as created_at,
  ${rfc3339('k.expires_at')} as expires_at, ${rfc3339('k.last_used_at')} as last_used_at, k.use_count::float8 as use_count`
const own = (id: string) => sql`k.id = ${id} and k.user_id = ${CALLER} and k.revoked_at is null`
const texts = (list: string[]) => sql`array(select jsonb_array_elements_text(${JSON.stringify(list)}::jsonb))`

/**
 * Makes a key of the caller's. One round trip. Fails with invalid_request (a permission, a network or a moment that is none), forbidden (a
 * permission that they do not hold), limit_reached.
 */
export async function createKey(ctx: Ctx, { name, permissions, addresses = [], expires_at }: NewApiKey): Promise<MadeApiKey> {
  const { prefix, key } = newKey()
  const hash = await tokenHash(key)
  const [result] = await ctx.run(
    ctx.db.execute(sql`insert into freehold.api_keys as k (id, user_id, name, prefix, key_hash, permissions, addresses, expires_at)
      values (${crypto.randomUUID()}, ${CALLER}, ${name}, ${prefix}, ${hash}::bytea, ${texts(permissions)}, ${texts(addresses)}, ${expires_at ?? null}::timestamptz)
      returning ${columns}`),
  )
  return { ...oneOf(result), key }
}

/**
 * Makes the successor of a key: with its name, permissions and addresses, and for as long as it was made for. The old one works until the overlap
 * is over. One round trip. Fails with not_found, illegal_state (it was rotated before, or has expired), limit_reached.
 */
export async function rotateKey(ctx: Ctx, id: string, { overlap_minutes }: Rotation): Promise<MadeApiKey> {
  const { prefix, key } = newKey()
  const hash = await tokenHash(key)
  const [seen, result] = await mapConstraintErrors(
    ctx.run(
      one(ctx, id),
      ctx.db.execute(sql`with old as (
          update freehold.api_keys k set expires_at = least(k.expires_at, now() + make_interval(mins => ${overlap_minutes}))
          from freehold.api_keys was where ${own(id)} and was.id = k.id and not exists (select from freehold.api_keys s where s.rotated_from = k.id)
          returning k.id, k.user_id, k.name, k.permissions, k.addresses, was.expires_at - was.created_at as lifetime
        )
        insert into freehold.api_keys as k (id, user_id, name, prefix, key_hash, permissions, addresses, rotated_from, expires_at)
        select ${crypto.randomUUID()}, o.user_id, o.name, ${prefix}, ${hash}::bytea, o.permissions, o.addresses, o.id,
          case when o.lifetime is not null then least(now() + o.lifetime, ${LAST}::timestamptz) end from old o
        returning ${columns}`),
    ),
    // Of many at once all but one come here, or below.
    (error) => (brokenConstraint(error) === 'api_keys_successor' ? rotated(error) : null),
  )
  oneOf(seen)
  if (!rowsOf(result).length) throw rotated()
  return { ...oneOf(result), key }
}

const rotated = (cause?: unknown) => new Problem('illegal_state', 'This key was rotated before: rotate its successor.', { cause })

/** The caller's keys that were not revoked, newest first. One round trip. Fails with invalid_cursor. */
export const ownKeys = (ctx: Ctx, page: Query) => listed(ctx, CALLER, 'api-keys', page)

/** The keys of a person, newest first. One round trip; `api_key:read`. Fails with not_found, invalid_cursor. */
export const keysOf = (ctx: Ctx, id: string, page: Query) => listed(ctx, sql`${id}`, `api-keys:${id}`, page, exists(id))

async function listed(ctx: Ctx, person: SQL, list: string, { limit, cursor }: Query, ...before: SQL[]): Promise<ApiKeyList> {
  const [at, last] = (await readCursor(ctx.realm, list, cursor)) ?? []
  const after = at ? sql`and (k.created_at, k.id) < (${at}::timestamptz, ${last}::uuid)` : sql``
  const page = sql`select ${columns} from freehold.api_keys k where k.user_id = ${person} and k.revoked_at is null ${after}
    order by k.created_at desc, k.id desc limit ${limit + 1}`
  const results = await ctx.run(...[...before, page].map((statement) => ctx.db.execute(statement)))
  if (before.length) requireExisting(results[0])
  return paged(ctx.realm, list, rowsOf<ApiKey>(results.at(-1)), limit, (row) => [row.created_at, row.id])
}

/** One of the caller's keys. One round trip. Fails with not_found. */
export async function getKey(ctx: Ctx, id: string): Promise<ApiKey> {
  const [result] = await ctx.run(one(ctx, id))
  return oneOf(result)
}

/** Changes a key of the caller's. One round trip. Fails as its making does, with not_found, and illegal_state (it has expired, or was rotated). */
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

/** Revokes a key of the caller's, for good. One round trip. Fails with not_found, also when it was revoked before. */
export const revokeKey = (ctx: Ctx, id: string) => revoked(ctx, own(id))

/** Revokes a key of a person. One round trip; `api_key:delete`. Fails with not_found. */
export const revokeKeyOf = (ctx: Ctx, user_id: string, id: string) =>
  revoked(ctx, sql`k.id = ${id} and k.user_id = ${user_id} and k.revoked_at is null`)

async function revoked(ctx: Ctx, which: SQL): Promise<void> {
  const [result] = await ctx.run(
    ctx.db.execute(sql`update freehold.api_keys k set revoked_at = now() where ${which} returning k.id`),
  )
  if (!rowsOf(result).length) throw new Problem('not_found')
}

const one = (ctx: Ctx, id: string) => ctx.db.execute(sql`select ${columns} from freehold.api_keys k where ${own(id)}`)

function oneOf(result: unknown): ApiKey {
  const [row] = rowsOf<ApiKey>(result)
  if (!row) throw new Problem('not_found')
  return row
}
