/**
 * Organizations within a tenant. Threat: a limit that is passed by many at once; an organization that is seen by the users of
 * another. The database counts and refuses (organizations.sql), and its policies limit what a scope can read.
 */
import { z } from '@hono/zod-openapi'
import { type SQL, sql } from 'drizzle-orm'
import { create } from '../idempotency/idempotency.ts'
import type { Ctx } from '../kernel/context.ts'
import { Page, paged, pageOf, readCursor } from '../kernel/cursor.ts'
import { brokenConstraint } from '../kernel/db.ts'
import { Line } from '../kernel/fields.ts'
import { invalid, Problem } from '../kernel/problem.ts'
import { matches, rfc3339, rowsOf, unchanged } from '../kernel/wire.ts'
import { StoredDocument } from '../names/document.ts'
import { PlainName } from '../names/names.ts'
import { type Member, MemberList, memberPage } from './members.ts'

export const Organization = z
  .object({
    id: z.uuid(),
    name: z.string(),
    unit_id: z.uuid().openapi({ description: 'The unit that it is: its users and units are in it, or below it' }),
    settings: z.record(z.string(), z.unknown()),
    plan_group: z.string().nullable(),
    user_limit: z.int().nullable().openapi({ description: 'How many active users may belong to it; null: no limit' }),
    active_users: z.int().openapi({ description: 'How many do' }),
    state: z.enum(['active', 'ending']).openapi({ description: '`ending` while it is wiped out' }),
    created_at: z.iso.datetime(),
    updated_at: z.iso.datetime(),
  })
  .openapi('Organization')
export type OrganizationWire = z.infer<typeof Organization>

const Unit = z.object({
  id: z.uuid(),
  kind: z.enum(['department', 'team']),
  name: z.string(),
  parent_id: z.uuid().nullable(),
})
const Invited = z.object({ id: z.uuid(), email: z.string(), expires_at: z.iso.datetime() })

/** An organization with whom and what belongs to it. */
export const OrganizationDetails = Organization.extend({
  people: MemberList.openapi({ description: 'The first page of its members; `next_cursor` goes on at `/members`' }),
  units: z.array(Unit).openapi({ description: 'At most 100, by name' }),
  invitations: z.array(Invited).openapi({ description: 'Those that are open, the newest 100; to who may read them' }),
}).openapi('OrganizationDetails')

const Editable = z.object({
  name: PlainName(70),
  settings: StoredDocument.optional(),
  plan_group: Line(64).nullable().optional().openapi({ description: 'What it has bought: the name of a role' }),
  user_limit: z.int().min(1).max(1_000_000).nullable().optional(),
})
export const NewOrganization = Editable.extend({
  unit_ids: z
    .array(z.uuid())
    .max(100)
    .refine((ids) => new Set(ids).size === ids.length, 'must not have a unit twice')
    .optional()
    .openapi({ description: 'Units that it takes along, with what is below them and their users; needs `unit:update`' }),
}).openapi('NewOrganization')
/** A JSON merge patch (RFC 7396). */
export const OrganizationPatch = Editable.partial().openapi('OrganizationPatch')
export const OrganizationList = pageOf(Organization).openapi('OrganizationList')
export const OrganizationQuery = Page.extend({
  sort: z.enum(['name', '-name', 'created_at', '-created_at']).default('name'),
  search: Line(70).optional(),
})

export const organizationColumns = sql`o.id, o.name, o.unit_id, o.settings, o.plan_group, o.user_limit, o.active_users, o.state,
  ${rfc3339('o.created_at')} as created_at, ${rfc3339('o.updated_at')} as updated_at`
export const one = (id: string) => sql`select ${organizationColumns} from freehold.organizations o where o.id = ${id}`
/** Refuses an organization that the caller can only read. */
const reach = (id: string) => sql`select access.require_reach('organization', ${id}::uuid)`

export function firstOrNotFound(result: unknown): OrganizationWire {
  const [organization] = rowsOf<OrganizationWire>(result)
  if (!organization) throw new Problem('not_found')
  return organization
}

function mapConstraintErrors(error: unknown): never {
  if (brokenConstraint(error) !== 'organizations_name') throw error
  const errors = [{ pointer: '#/name', detail: 'is taken' }]
  throw new Problem('already_exists', 'Another organization has this name.', { errors, cause: error })
}

/** The greatest code point: the end of the range that a prefix matches. */
const MAX_CODE_POINT = '\u{10FFFF}'

/**
 * Lists the organizations that the caller can access. `search` is a case-insensitive prefix match on the name. One round trip;
 * `organization:read`. Fails with invalid_request (a search in a list sorted by time), invalid_cursor.
 */
export async function listOrganizations(
  ctx: Ctx,
  { sort, search, limit, cursor }: z.infer<typeof OrganizationQuery>,
): Promise<z.infer<typeof OrganizationList>> {
  const by_name = !sort.endsWith('created_at')
  if (search !== undefined && !by_name) throw invalid('query/search', 'cannot be combined with a sort by created_at')
  const after = await readCursor(ctx.realm, `organizations:${sort}`, cursor)
  const [direction, beyond] = sort.startsWith('-') ? [sql.raw('desc'), sql.raw('<')] : [sql.raw('asc'), sql.raw('>')]
  const [column, type] = by_name ? [sql`o.folded collate "C"`, sql.raw('text')] : [sql`o.created_at`, sql.raw('timestamptz')]
  const conditions = [
    ...(after ? [sql`(${column}, o.id) ${beyond} (${after[0]}::${type}, ${after[1]}::uuid)`] : []),
    ...(search === undefined
      ? []
      : [sql`${column} >= lower(${search}::text) and ${column} < lower(${search}::text) || ${MAX_CODE_POINT}`]),
  ]
  const where = conditions.length ? sql`where ${sql.join(conditions, sql` and `)}` : sql``
  const [result] = await ctx.run(
    ctx.db.execute(sql`select ${organizationColumns}, o.folded from freehold.organizations o ${where}
      order by ${column} ${direction}, o.id ${direction} limit ${limit + 1}`),
  )
  const rows = rowsOf<OrganizationWire & { folded: string }>(result)
  const page = await paged(ctx.realm, `organizations:${sort}`, rows, limit, (row) => [
    by_name ? row.folded : row.created_at,
    row.id,
  ])
  return { data: page.data.map(({ folded: _, ...shown }) => shown), next_cursor: page.next_cursor }
}

/**
 * Gets an organization with its members, units and open invitations, as far as the permission reaches. One round trip;
 * `organization:read`. Fails with not_found.
 */
export async function getOrganization(ctx: Ctx, id: string): Promise<z.infer<typeof OrganizationDetails>> {
  const members = memberPage(id, 50, null, sql`and (select access.reads_users_of(${id}::uuid))`)
  const units = sql`select n.id, n.kind, n.name, n.parent_id from freehold.units n where n.organization_id = ${id} and n.parent_id is not null order by n.name, n.id limit 100`
  const [found, people, below, invited] = await ctx.run(
    ctx.db.execute(one(id)),
    ctx.db.execute(members),
    ctx.db.execute(units),
    ctx.db.execute(sql`select access.invitations_of(${id}::uuid) as invitations`),
  )
  return {
    ...firstOrNotFound(found),
    people: await paged(ctx.realm, `members:${id}`, rowsOf<z.infer<typeof Member>>(people), 50, (row) => [row.username, row.id]),
    units: rowsOf<z.infer<typeof Unit>>(below),
    invitations: rowsOf<{ invitations: z.infer<typeof Invited>[] }>(invited)[0]?.invitations ?? [],
  }
}

/**
 * Creates an organization. One round trip; `organization:create` at scope `all`. Fails with already_exists, limit_reached,
 * invalid_request (a plan group that is no role, a unit that is not there), in_use (more than 1,000 users in a unit), forbidden
 * (units, without `unit:update`).
 */
export async function createOrganization(ctx: Ctx, wanted: z.infer<typeof NewOrganization>): Promise<OrganizationWire> {
  const { name, settings = {}, plan_group = null, user_limit = null, unit_ids = [] } = wanted
  const id = crypto.randomUUID()
  const insert = sql`insert into freehold.organizations (id, name, settings, plan_group, user_limit)
    values (${id}, ${name}, ${JSON.stringify(settings)}::jsonb, ${plan_group}, ${user_limit})`
  const put = sql`select access.put_units(${id}::uuid, array(select jsonb_array_elements_text(${JSON.stringify(unit_ids)}::jsonb))::uuid[])`
  const [made] = await create<OrganizationWire>(ctx, {
    before: unit_ids.length ? [insert, put] : [insert],
    made: sql`made as (${one(id)})`,
  }).catch(mapConstraintErrors)
  if (!made) throw new Problem('not_found')
  return made
}

/**
 * Changes the given fields; settings are merged key by key. One round trip; `organization:update`. Fails with not_found,
 * etag_mismatch, already_exists, invalid_request, illegal_state (it is being wiped out), forbidden.
 */
export async function changeOrganization(
  ctx: Ctx,
  id: string,
  wanted: z.infer<typeof OrganizationPatch>,
  ifMatch?: string,
): Promise<OrganizationWire> {
  const assignments: SQL[] = Object.entries(wanted).map(([column, value]) =>
    column === 'settings'
      ? sql`settings = access.merged(o.settings, ${JSON.stringify(value)}::jsonb)`
      : sql`${sql.identifier(column)} = ${value}`,
  )
  const update = sql`update freehold.organizations o set ${sql.join(assignments.length ? assignments : [sql`name = o.name`], sql`, `)}
    where o.id = ${id} and ${matches('o.updated_at', ifMatch)} returning o.id`
  const [, changed, result] = await ctx
    .run(ctx.db.execute(reach(id)), ctx.db.execute(update), ctx.db.execute(one(id)))
    .catch(mapConstraintErrors)
  const organization = firstOrNotFound(result)
  if (rowsOf(changed).length === 0) throw unchanged(organization, ifMatch)
  return organization
}
