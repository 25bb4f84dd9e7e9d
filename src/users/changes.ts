/**
 * Creating and changing users. Threat: a caller changes more of a user than they may, or widens their own scope by it. The
 * database decides which columns a permission and its scope cover, to which units users may be moved, and that managers form no
 * circle (access.before_user).
 */
import { z } from '@hono/zod-openapi'
import { type SQL, sql } from 'drizzle-orm'
import { create, createdBefore } from '../idempotency/idempotency.ts'
import type { Ctx } from '../kernel/context.ts'
import { brokenConstraint } from '../kernel/db.ts'
import { Moment, Text } from '../kernel/fields.ts'
import { invalid, Problem } from '../kernel/problem.ts'
import { matches, rowsOf, unchanged } from '../kernel/wire.ts'
import { Email } from '../names/addresses.ts'
import { Name } from '../names/names.ts'
import { hash } from '../passwords/hash.ts'
import { brokenRules, generateFor, issuesOf, type Policy } from '../passwords/policy.ts'
import { Locale, Phone, Preferences, TimeZone, Username } from './fields.ts'
import { usernameFrom } from './username.ts'
import { firstOrNotFound, one, User, type UserWire } from './users.ts'

/** The optional fields; null means the same as absent. */
const Optional = z
  .object({
    given_name: Name(255).nullable(),
    family_name: Name(255).nullable(),
    phone: Phone.nullable(),
    unit_id: z.uuid().nullable(),
    manager_id: z.uuid().nullable(),
    designation: Name(120).nullable(),
    description: Text(140).nullable(),
    locale: Locale.nullable(),
    timezone: TimeZone.nullable(),
    preferences: Preferences.nullable(),
    joined_at: Moment.nullable(),
    terminated_at: Moment.nullable(),
    max_sessions: z.int().min(1).max(1000).nullable(),
  })
  .partial()

const Role = Text(64)

export const NewUser = Optional.omit({ terminated_at: true })
  .extend({
    email: Email,
    username: Username.optional(),
    role: Role.optional(),
    password: z.string().min(1).max(1024).optional(),
    organization_id: z.uuid().nullable().optional(),
  })
  .openapi('NewUser')
export const MadeUser = User.extend({ initial_password: z.string().optional() }).openapi('MadeUser')
/** Every editable field: one that is absent becomes null, or the default of a new user; absent dates stay as they are. */
export const UserReplacement = Optional.extend({ email: Email, username: Username, role: Role }).openapi('UserReplacement')
/** A JSON merge patch (RFC 7396). */
export const UserPatch = Optional.extend({ email: Email, username: Username, role: Role }).partial().openapi('UserPatch')

const DEFAULTS: Partial<Record<string, unknown>> = { locale: 'en', timezone: 'UTC', preferences: {} }

/** The value of a column as a statement takes it: an absent value and null become the column's default. */
function stored(column: string, given: unknown): SQL {
  const value = given ?? DEFAULTS[column] ?? null
  return sql`${column === 'preferences' ? JSON.stringify(value) : value}`
}

/** Maps a broken constraint to a problem that names the field. */
function mapConstraintErrors(error: unknown): never {
  const taken = (field: string) => {
    const errors = [{ pointer: `#/${field}`, detail: 'is taken' }]
    return new Problem('already_exists', `Another user has this ${field}.`, { errors, cause: error })
  }
  const broken = brokenConstraint(error)
  if (broken === 'users_email' || broken === 'users_username') throw taken(broken.slice('users_'.length))
  if (broken === 'users_unit_id_units_id_fk') throw invalid('unit_id', 'is not a unit that you can access')
  if (broken === 'users_organization_id_organizations_id_fk')
    throw invalid('organization_id', 'is not an organization that you can access')
  if (broken === 'users_manager_id_users_id_fk') throw invalid('manager_id', 'is not a user whom you can access')
  throw error
}

/**
 * Creates a user with a first password, which they must change. Two round trips, because the password is hashed between them;
 * `user:create`, below scope `all` only in units that the caller can access. Without a password one is generated and returned
 * only once. Fails with already_exists (names the field), invalid_request (also a unit or manager that the caller cannot access),
 * forbidden (a role that the caller may not assign), limit_reached.
 */
export async function createUser(ctx: Ctx, wanted: z.infer<typeof NewUser>): Promise<z.infer<typeof MadeUser>> {
  type Made = z.infer<typeof MadeUser>
  const [known, asked] = await createdBefore<Made>(ctx, sql`select access.policy() as policy`)
  if (known) return known
  const [{ policy } = {} as never] = rowsOf<{ policy: Policy }>(asked)
  const { email, role, username, organization_id = null, ...optional } = wanted
  const wished = usernameFrom(email)
  const { given_name = null, family_name = null } = optional
  const user = { email, username: username ?? wished, given_name, family_name }
  const { password = await generateFor(user, policy, ctx.realm), ...fields } = optional
  const weak = wanted.password === undefined ? [] : await brokenRules(ctx, password, user, policy)
  if (weak.length) throw new Problem('invalid_request', undefined, { errors: issuesOf('password', weak) })
  const id = crypto.randomUUID()
  const columns = Object.keys(Optional.omit({ terminated_at: true }).shape)
  const values = columns.map((column) => stored(column, fields[column as keyof typeof fields]))
  const insert = sql`insert into freehold.users (id, email, username, must_change_password, role, ${sql.raw(columns.join(', '))}${organization_id === null ? sql`` : sql`, organization_id`})
    values (${id}, ${email}, ${username ?? sql`access.new_username(${wished}, ${email})`}, true, coalesce(${role ?? null}, (select r.name from freehold.roles r where r.is_fallback)), ${sql.join(values, sql`, `)}${organization_id === null ? sql`` : sql`, ${organization_id}`})`
  const first = sql`select access.first_password(${id}, ${await hash(password, ctx.config.PASSWORD_HASH_ITERATIONS)})`
  const [made] = await create<Made>(ctx, {
    before: [insert, first],
    made: sql`made as (${one(id)})`,
    ...(wanted.password === undefined && { secrets: { initial_password: password } }),
  }).catch(mapConstraintErrors)
  if (!made) throw new Problem('not_found')
  return made
}

/** Changes a user if `If-Match` still holds, and reads them again. One round trip. Fails with not_found, forbidden, etag_mismatch. */
async function change(ctx: Ctx, id: string, assignments: SQL[], ifMatch?: string): Promise<UserWire> {
  const update = sql`update freehold.users u set ${sql.join(assignments, sql`, `)} where u.id = ${id} and ${matches('u.updated_at', ifMatch)} returning u.id`
  const reach = sql`select access.require_reach('user', ${id}::uuid)`
  const [, changed, result] = await ctx
    .run(ctx.db.execute(reach), ctx.db.execute(update), ctx.db.execute(one(id)))
    .catch(mapConstraintErrors)
  const user = firstOrNotFound(result)
  if (rowsOf(changed).length === 0) throw unchanged(user, ifMatch)
  return user
}

const set = (column: string, value: SQL) => sql`${sql.identifier(column)} = ${value}`

/** Replaces every editable field. One round trip; `user:update`. Fails as patchUser does. */
export async function replaceUser(
  ctx: Ctx,
  id: string,
  wanted: z.infer<typeof UserReplacement>,
  ifMatch?: string,
): Promise<UserWire> {
  // The dates say when somebody came and goes: who does not name them does not know them.
  const is_kept = (column: keyof typeof wanted) => /^(joined|terminated)_at$/.test(column) && wanted[column] === undefined
  const columns = (Object.keys(UserReplacement.shape) as (keyof typeof wanted)[]).filter((column) => !is_kept(column))
  const assignments = columns.map((column) => set(column, stored(column, wanted[column])))
  return change(ctx, id, assignments, ifMatch)
}

/**
 * Changes the given fields; preferences are merged key by key. One round trip; `user:update`. Fails with not_found,
 * etag_mismatch, already_exists, invalid_request, forbidden (a user whom the caller can only read; below scope `all` callers
 * change only the profile fields of themselves, and move no user out of their scope).
 */
export async function patchUser(ctx: Ctx, id: string, patch: z.infer<typeof UserPatch>, ifMatch?: string): Promise<UserWire> {
  const assignments = Object.entries(patch).map(([column, value]) =>
    column === 'preferences' && value !== null
      ? set(column, sql`access.merged(u.preferences, ${JSON.stringify(value)}::jsonb)`)
      : set(column, stored(column, value)),
  )
  return change(ctx, id, assignments.length ? assignments : [sql`description = u.description`], ifMatch)
}

/**
 * Reactivates a user, or deactivates them, which ends their sessions. `terminated_at` says when they went. Idempotent. One round trip; `user:update`, or `user:delete`
 * to deactivate. Fails with not_found, illegal_state (the caller themselves, or the last administrator), forbidden.
 */
export const setActive = (ctx: Ctx, id: string, is_active: boolean): Promise<UserWire> =>
  change(ctx, id, [
    sql`is_active = ${is_active}`,
    // Of somebody whose last day has come, and whom the scheduled job has not deactivated yet.
    ...(is_active ? [sql`terminated_at = case when u.terminated_at > now() then u.terminated_at end`] : []),
  ])
