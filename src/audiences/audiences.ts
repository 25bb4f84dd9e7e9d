/**
 * The APIs that take a tenant's access tokens. Threat: the token that one API was given is used at another one, or at Freehold. So
 * each has an `aud` of its own, which is asked for by `resource` (RFC 8707), and no address on the base domain can be one: Freehold
 * takes tokens for its own addresses.
 */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import { create } from '../idempotency/idempotency.ts'
import type { Ctx } from '../kernel/context.ts'
import { type Page, paged, pageOf, readCursor } from '../kernel/cursor.ts'
import { brokenConstraint } from '../kernel/db.ts'
import { invalid, Problem } from '../kernel/problem.ts'
import { matches, rfc3339, rowsOf, unchanged } from '../kernel/wire.ts'
import { claimedName, isPlatformHost } from '../names/hosts.ts'
import { Name } from '../names/names.ts'
import { TokenPermissionList, TokenPermissions } from '../settings/settings.ts'

/** An absolute URI without a fragment (RFC 8707 section 2), in ASCII. */
const Identifier = z
  .string()
  .max(255)
  .regex(/^[A-Za-z][A-Za-z0-9+.-]*:[!-"$-~]+$/, 'must be an absolute URI without a fragment, such as https://api.example.com')

export const Audience = z
  .object({
    id: z.uuid(),
    identifier: z.string(),
    name: z.string(),
    token_permissions: TokenPermissions,
    token_permission_list: z.array(z.string()),
    created_at: z.iso.datetime(),
    updated_at: z.iso.datetime(),
  })
  .openapi('Audience')
type Wire = z.infer<typeof Audience>

const Editable = z.object({
  name: Name(120),
  token_permissions: TokenPermissions.optional(),
  token_permission_list: TokenPermissionList.optional(),
})
export const NewAudience = Editable.extend({
  identifier: Identifier.openapi({ description: 'What `resource` names and `aud` is: the URI of the API. It never changes.' }),
}).openapi('NewAudience')
export const AudiencePatch = Editable.partial().openapi('AudiencePatch')
export const AudienceList = pageOf(Audience).openapi('AudienceList')

const columns = sql`a.id, a.identifier, a.name, a.token_permissions, a.token_permission_list,
  ${rfc3339('a.created_at')} as created_at, ${rfc3339('a.updated_at')} as updated_at`
const one = (id: string) => sql`select ${columns} from freehold.audiences a where a.id = ${id}`
/** Refuses an audience that the caller can only read. */
const reach = (id: string) => sql`select access.require_reach('audience', ${id}::uuid)`
const texts = (list: string[]) => sql`array(select jsonb_array_elements_text(${JSON.stringify(list)}::jsonb))`

function firstOrNotFound(result: unknown): Wire {
  const [audience] = rowsOf<Wire>(result)
  if (!audience) throw new Problem('not_found')
  return audience
}

/** Lists the audiences of the tenant, by name. One round trip; `audience:read`. Fails with invalid_cursor. */
export async function listAudiences(ctx: Ctx, { limit, cursor }: z.infer<typeof Page>): Promise<z.infer<typeof AudienceList>> {
  const after = await readCursor(ctx.realm, 'audiences', cursor)
  const where = after ? sql`where (a.name, a.id) > (${after[0]}::text, ${after[1]}::uuid)` : sql``
  const [result] = await ctx.run(
    ctx.db.execute(sql`select ${columns} from freehold.audiences a ${where} order by a.name, a.id limit ${limit + 1}`),
  )
  return paged(ctx.realm, 'audiences', rowsOf<Wire>(result), limit, (row) => [row.name, row.id])
}

/** Gets an audience. One round trip; `audience:read`. Fails with not_found. */
export const getAudience = async (ctx: Ctx, id: string): Promise<Wire> =>
  firstOrNotFound((await ctx.run(ctx.db.execute(one(id))))[0])

/**
 * Registers an API. One round trip; `audience:create` at scope `all`. Fails with already_exists, limit_reached (more than 100),
 * invalid_request (an address on the base domain).
 */
export async function createAudience(ctx: Ctx, audience: z.infer<typeof NewAudience>): Promise<Wire> {
  const { identifier, name, token_permissions = 'all', token_permission_list = [] } = audience
  if (isOurs(ctx, identifier)) throw invalid('identifier', 'is an address of this service')
  const id = crypto.randomUUID()
  const [made] = await create<Wire>(ctx, {
    made: sql`made as (insert into freehold.audiences as a (id, identifier, name, token_permissions, token_permission_list)
      values (${id}, ${identifier}, ${name}, ${token_permissions}, ${texts(token_permission_list)}) returning ${columns})`,
  }).catch((error: unknown) => {
    if (brokenConstraint(error) !== 'audiences_identifier') throw error
    const errors = [{ pointer: '#/identifier', detail: 'is taken' }]
    throw new Problem('already_exists', 'Another audience has this identifier.', { errors, cause: error })
  })
  if (!made) throw new Problem('not_found')
  return made
}

/** Whether a URI is on the host of the platform or of a tenant, whatever that is called now, or may be one day. */
function isOurs({ config }: Ctx, identifier: string): boolean {
  const host = URL.canParse(identifier) ? new URL(identifier).hostname : ''
  return isPlatformHost(config, host) || claimedName(config, host) !== null
}

/** Changes the given fields. One round trip; `audience:update` at scope `all`. Fails with not_found, etag_mismatch, forbidden. */
export async function changeAudience(
  ctx: Ctx,
  id: string,
  wanted: z.infer<typeof AudiencePatch>,
  ifMatch?: string,
): Promise<Wire> {
  const assignments = Object.entries(wanted).map(
    ([column, value]) => sql`${sql.identifier(column)} = ${Array.isArray(value) ? texts(value) : value}`,
  )
  const update = sql`update freehold.audiences a set ${sql.join(assignments.length ? assignments : [sql`name = a.name`], sql`, `)}
    where a.id = ${id} and ${matches('a.updated_at', ifMatch)} returning a.id`
  const [, changed, result] = await ctx.run(ctx.db.execute(reach(id)), ctx.db.execute(update), ctx.db.execute(one(id)))
  const audience = firstOrNotFound(result)
  if (rowsOf(changed).length === 0) throw unchanged(audience, ifMatch)
  return audience
}

/**
 * Removes an audience: no further token is for it; those that there are stay valid until they expire. One round trip;
 * `audience:delete` at scope `all`. Fails with not_found, forbidden.
 */
export async function removeAudience(ctx: Ctx, id: string): Promise<void> {
  const [, removed] = await ctx.run(
    ctx.db.execute(reach(id)),
    ctx.db.execute(sql`delete from freehold.audiences a where a.id = ${id} returning a.id`),
  )
  if (rowsOf(removed).length === 0) throw new Problem('not_found')
}
