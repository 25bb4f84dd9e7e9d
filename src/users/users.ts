/**
 * Users: their form on the wire, and reading them. Threat: a list shows users whom the caller cannot access. Row level security
 * enforces the scope; `withinScope` lets the same statement walk an index at every scope.
 */
import { z } from '@hono/zod-openapi'
import { type SQL, sql } from 'drizzle-orm'
import type { Ctx } from '../kernel/context.ts'
import { Page, paged, pageOf, readCursor } from '../kernel/cursor.ts'
import { Text } from '../kernel/fields.ts'
import { invalid, Problem } from '../kernel/problem.ts'
import { rfc3339, rowsOf } from '../kernel/wire.ts'
import { withinScope } from '../lists/scope.ts'
import { Organization, type OrganizationWire, organizationColumns } from '../organizations/organizations.ts'

export const User = z
  .object({
    id: z.uuid(),
    username: z.string(),
    email: z.string(),
    email_verified: z.boolean(),
    given_name: z.string().nullable(),
    family_name: z.string().nullable(),
    phone: z.string().nullable(),
    phone_verified: z.boolean(),
    role: z.string().nullable(),
    roles: z.array(z.string()),
    unit_id: z.uuid().nullable(),
    organization_id: z.uuid().nullable(),
    manager_id: z.uuid().nullable(),
    designation: z.string().nullable(),
    description: z.string().nullable(),
    is_active: z.boolean(),
    must_change_password: z.boolean(),
    factors: z
      .array(z.string())
      .openapi({ description: 'The second factors that the user has set up', example: ['totp', 'passkey'] }),
    locale: z.string(),
    timezone: z.string(),
    preferences: z.record(z.string(), z.unknown()),
    avatar: z.string().nullable().openapi({ description: 'The version of the picture at `users/{id}/avatar`; null: initials' }),
    joined_at: z.iso.datetime().nullable(),
    terminated_at: z.iso.datetime().nullable(),
    erased_at: z.iso.datetime().nullable().openapi({ description: 'When the person was erased: a former user is left' }),
    max_sessions: z.int().nullable(),
    created_at: z.iso.datetime(),
    updated_at: z.iso.datetime(),
  })
  .openapi('User')
export type UserWire = z.infer<typeof User>

/** What `include` adds to the current user. */
export const CurrentUser = User.extend({
  // Its fields, not the component itself, which would be nullable everywhere.
  organization: z.object(Organization.shape).nullable().optional(),
  invitations: z
    .array(z.object({ id: z.uuid(), organization: z.string().nullable(), expires_at: z.iso.datetime() }))
    .optional()
    .openapi({ description: 'Open invitations to the address of the user, if it is verified' }),
}).openapi('CurrentUser')
export const CurrentUserQuery = z.object({
  include: z
    .string()
    .regex(
      /^(organization|invitations)(,(organization|invitations))*$/,
      'must be organization, invitations, or both with a comma',
    )
    .optional()
    .openapi({ example: 'organization,invitations' }),
})

export const UserList = pageOf(User).openapi('UserList')

const SORTS = ['username', '-username', 'email', '-email', 'name', '-name', 'created_at', '-created_at'] as const

export const UserQuery = Page.extend({
  sort: z.enum(SORTS).default('username'),
  search: Text(255).optional(),
  role: Text(64).optional(),
  unit_id: z.uuid().optional(),
  status: z.enum(['active', 'inactive']).optional(),
})
type Query = z.infer<typeof UserQuery>

/** The primary role, if it is assigned now and active; else the first role that is. */
const ROLE = sql`(select r.name from freehold.user_roles ur join freehold.roles r on r.id = ur.role_id
  where ur.user_id = u.id and r.is_active and access.in_force(ur.starts_at, ur.ends_at, now())
  order by r.name = u.role desc nulls last, ur.starts_at, r.name limit 1)`

const FACTORS = sql`to_jsonb(u.factors)
  || case when exists (select from freehold.passkeys k where k.user_id = u.id) then '["passkey"]' else '[]' end::jsonb`

/** By its name, because a database that is a version behind has no such column. */
const ORGANIZATION = sql`(to_jsonb(u) ->> 'organization_id')::uuid`

/** The columns of `freehold.users u` that are returned, without `roles`. */
export const userColumns = sql`u.id, u.username, u.email, u.email_verified, u.given_name, u.family_name, u.phone, u.phone_verified, ${ROLE} as role, u.unit_id, ${ORGANIZATION} as organization_id, u.manager_id,
  u.designation, u.description, u.is_active, u.must_change_password, (${FACTORS}) as factors, u.locale, u.timezone, u.preferences, to_jsonb(u) ->> 'avatar' as avatar, ${rfc3339('u.joined_at')} as joined_at,
  ${rfc3339('u.terminated_at')} as terminated_at, ${rfc3339('u.erased_at')} as erased_at, u.max_sessions, ${rfc3339('u.created_at')} as created_at, ${rfc3339('u.updated_at')} as updated_at`

/** The names of the active roles that are assigned to a user now. */
export const rolesOf = (
  id: SQL,
) => sql`(select coalesce(jsonb_agg(distinct r.name order by r.name), '[]') from freehold.user_roles ur join freehold.roles r on r.id = ur.role_id
  where ur.user_id = ${id} and r.is_active and access.in_force(ur.starts_at, ur.ends_at, now())) as roles`

/** One user, if the caller can access them. */
export const one = (id: SQL | string) =>
  sql`select ${userColumns}, ${rolesOf(sql`u.id`)} from freehold.users u where u.id = ${id}`

/** The one user of a result. Fails with not_found. */
export function firstOrNotFound(result: unknown): UserWire {
  const [user] = rowsOf<UserWire>(result)
  if (!user) throw new Problem('not_found')
  return user
}

/** Gets a user. One round trip; `user:read`. Fails with not_found, also for a user whom the caller cannot access. */
export const getUser = async (ctx: Ctx, id: string): Promise<UserWire> =>
  firstOrNotFound((await ctx.run(ctx.db.execute(one(id))))[0])

/** Gets the current user, with what `include` names. One round trip; no permission. */
export async function getMe(
  ctx: Ctx,
  { include = '' }: z.infer<typeof CurrentUserQuery> = {},
): Promise<z.infer<typeof CurrentUser>> {
  const me = ctx.db.execute(one(sql`(select access.principal())`))
  if (!include) return firstOrNotFound((await ctx.run(me))[0])
  const mine = sql`select ${organizationColumns} from freehold.organizations o
    where o.id = (select u.organization_id from freehold.users u where u.id = (select access.principal()))`
  const invited = sql`select access.own_invitations() as invitations`
  const [user, found, open] = await ctx.run(me, ctx.db.execute(mine), ctx.db.execute(invited))
  const wanted = include.split(',')
  return {
    ...firstOrNotFound(user),
    ...(wanted.includes('organization') && { organization: rowsOf<OrganizationWire>(found)[0] ?? null }),
    ...(wanted.includes('invitations') && {
      invitations: rowsOf<Pick<z.infer<typeof CurrentUser>, 'invitations'>>(open)[0]?.invitations ?? [],
    }),
  }
}

/** With more holders than this, a role is looked for while the list is walked; with fewer, its holders are sorted. */
const FEW_HOLDERS = 1_000

/** The assignments, as `from` and `where`, by which users hold a role now: the same as under `/roles/{id}/users`. */
const held = (role: string) => sql`freehold.user_roles ur join freehold.roles r on r.id = ur.role_id
  where r.name = ${role} and r.deleted_at is null and access.in_force(ur.starts_at, ur.ends_at, now())`

/** The greatest code point: the end of the range that a prefix matches. */
const MAX_CODE_POINT = '\u{10FFFF}'

/**
 * The statement of a page, with one row more than `limit`, each with its sort key. `after` is the last row of the page before.
 */
export function listed({ sort, search, role, unit_id, status, limit }: Omit<Query, 'cursor'>, after: string[] | null): SQL {
  const key = sort.replace('-', '') as 'username' | 'email' | 'name' | 'created_at'
  const [direction, beyond] = sort.startsWith('-') ? [sql.raw('desc'), sql.raw('<')] : [sql.raw('asc'), sql.raw('>')]
  const column = sql.raw(key === 'created_at' ? 'u.created_at' : `u.${key} collate "C"`)
  const [value = '', id = ''] = after ?? []
  // The database folds names to lower case, the Worker the other keys; a search is folded the same way.
  const prefix = key === 'name' ? sql`lower(${search}::text)` : sql`${search?.normalize('NFKC').toLowerCase()}::text`
  const conditions = [
    ...(after
      ? [sql`(${column}, u.id) ${beyond} (${value}::${sql.raw(key === 'created_at' ? 'timestamptz' : 'text')}, ${id}::uuid)`]
      : []),
    ...(search === undefined ? [] : [sql`${column} >= ${prefix} and ${column} < ${prefix} || ${MAX_CODE_POINT}`]),
    ...(unit_id === undefined ? [] : [sql`u.unit_id = ${unit_id}`]),
    ...(status === undefined ? [] : [status === 'active' ? sql`u.is_active` : sql`not u.is_active`]),
  ]
  const sorted = sql`page.key collate "C" ${direction}, page.id ${direction}`
  const pageWhere = (all: SQL[]) =>
    withinScope({
      columns: sql`u.id, ${key === 'created_at' ? rfc3339('u.created_at') : sql.raw(`u.${key}`)} as key`,
      from: sql`freehold.users u`,
      owner: sql`u.id`,
      unit: sql`u.unit_id`,
      where: all.length ? sql.join(all, sql` and `) : sql`true`,
      order: sql`${column} ${direction}, u.id ${direction}`,
      sorted,
      limit: limit + 1,
      walk: true,
    })
  // The planner does not know how many hold a role that it is given by name, so both ways are written out, and how many hold it
  // decides which one runs. It is not counted for a caller of a few units, whose lists are short. `offset 0` keeps the second one from becoming a join, which would read every holder.
  const [holders, page] =
    role === undefined
      ? [sql``, pageWhere(conditions)]
      : [
          sql`with any_of as materialized (select ur.user_id from ${held(role)} and (select access.walks()) limit ${FEW_HOLDERS + 1}),
            few as materialized (select case when (select access.walks()) and count(*) <= ${FEW_HOLDERS} then coalesce(array_agg(any_of.user_id), '{}') end as ids from any_of)`,
          sql`select * from (
              (${pageWhere([sql`u.id = any ((select few.ids from few)::uuid[])`, ...conditions])})
              union all
              (${pageWhere([sql`(select few.ids is null from few) and exists (select from ${held(role)} and ur.user_id = u.id offset 0)`, ...conditions])})
            ) page order by ${sorted} limit ${limit + 1}`,
        ]
  // Every branch yields up to a whole page, so the other columns are read for the rows of the page alone.
  return sql`${holders} select ${userColumns}, u.name, ${rolesOf(sql`u.id`)} from (${page}) page join freehold.users u on u.id = page.id order by ${sorted}`
}

/**
 * Lists users the caller can access. `role` finds who holds that role now, as any of theirs; `search` is a case-insensitive prefix
 * match on the sort field. One round trip; `user:read`.
 * Fails with invalid_request (a search in a list sorted by time), invalid_cursor.
 */
export async function listUsers(ctx: Ctx, { cursor, ...query }: Query): Promise<z.infer<typeof UserList>> {
  const { sort, search, limit } = query
  if (search !== undefined && sort.endsWith('created_at'))
    throw invalid('query/search', 'cannot be combined with a sort by created_at')
  const after = await readCursor(ctx.realm, `users:${sort}`, cursor)
  const [result] = await ctx.run(ctx.db.execute(listed(query, after)))
  const rows = rowsOf<UserWire & { name: string }>(result)
  const key = sort.replace('-', '') as 'username' | 'email' | 'name' | 'created_at'
  const { data, next_cursor } = await paged(ctx.realm, `users:${sort}`, rows, limit, (row) => [row[key], row.id])
  return { data: data.map(({ name: _, ...user }) => user), next_cursor }
}
