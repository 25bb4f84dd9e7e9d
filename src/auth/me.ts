import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import { type Ctx, question } from '../kernel/context.ts'
import { Method } from './challenge.ts'

/** Of a session in which somebody else acts as the user (src/impersonation): who. */
const Impersonator = z.object({ sub: z.uuid(), username: z.string() }).nullable()

export const Me = z
  .object({
    sub: z.uuid(),
    username: z.string(),
    email: z.string(),
    email_verified: z.boolean(),
    given_name: z.string().nullable(),
    family_name: z.string().nullable(),
    role: z.string().nullable(),
    roles: z.array(z.string()),
    is_active: z.boolean(),
    /** The version of the picture at `auth/me/avatar`; null: it shows initials. */
    avatar: z.string().nullable(),
    tenant: z.string().nullable(),
    impersonated_by: Impersonator,
  })
  .openapi('Me')

export const WhoAmI = z
  .object({
    sub: z.uuid(),
    username: z.string(),
    avatar: z.string().nullable(),
    tenant: z.object({ id: z.uuid(), subdomain: z.string().nullable(), legal_name: z.string(), url: z.url() }),
    roles: z.array(z.string()),
    permissions: z.array(z.string()),
    impersonated_by: Impersonator,
    /** The second factors that the user can use, how many backup codes are left, and from when on they must have one; null: they have one, or need none. */
    mfa: z.object({ methods: z.array(Method), backup_codes_left: z.int(), due_at: z.iso.datetime().nullable() }),
    /** null for a caller with an API key. */
    session: z
      .object({
        id: z.uuid(),
        device: z.string().nullable(),
        address: z.string().nullable(),
        created_at: z.iso.datetime(),
        last_active_at: z.iso.datetime(),
        expires_at: z.iso.datetime(),
      })
      .nullable(),
    /** The API key that was sent; `permissions` above are those of the key that its owner holds now. */
    api_key: z.object({ id: z.uuid(), prefix: z.string(), name: z.string(), permissions: z.array(z.string()) }).nullable(),
    /** Of the token, or of the key; null: never. */
    expires_at: z.iso.datetime().nullable(),
  })
  .openapi('WhoAmI')

/** A database that is a version behind says nothing of second factors and pictures, nor of who acts as somebody. */
type Unsaid = 'mfa' | 'avatar' | 'impersonated_by'
type Caller = Omit<z.infer<typeof WhoAmI>, 'tenant' | 'expires_at' | Unsaid> &
  Partial<Pick<z.infer<typeof WhoAmI>, Unsaid>> & { key_expires_at: string | null }
const inUtc = (at: string) => new Date(at).toISOString()

const ME = question(sql`access.me()`)
const WHO_AM_I = question(sql`access.who_am_i()`)

/** The current user as a statement, for a page that also asks for something else in its round trip; its column is `answer`. */
export const ME_QUERY = sql`select access.me() as answer`

/** The permissions of the caller, as a statement for such a page; they are `answer.permissions`. */
export const PERMISSIONS_QUERY = sql`select access.who_am_i() as answer`

/** The current user. One round trip. */
export async function me(ctx: Ctx): Promise<z.infer<typeof Me>> {
  const profile = await ctx.ask<Omit<z.infer<typeof Me>, 'tenant'> | null>(ME)
  if (!profile) throw new Error('The admitted user does not exist.')
  const { avatar = null, impersonated_by = null } = profile
  return { ...profile, avatar, tenant: ctx.realm.subdomain, impersonated_by }
}

/** The caller as access decisions see them: session or key, roles, permissions, tenant and expiry. One round trip. */
export async function whoAmI(ctx: Ctx): Promise<z.infer<typeof WhoAmI>> {
  const caller = await ctx.ask<Caller | null>(WHO_AM_I)
  if (!caller) throw new Error('The admitted user does not exist.')
  const { session, key_expires_at, mfa, ...user } = caller
  const { id, subdomain, legal_name, url } = ctx.realm
  return {
    ...user,
    avatar: user.avatar ?? null,
    tenant: { id, subdomain, legal_name, url },
    impersonated_by: user.impersonated_by ?? null,
    mfa: { methods: [], backup_codes_left: 0, ...mfa, due_at: mfa?.due_at ? inUtc(mfa.due_at) : null },
    session: session && {
      ...session,
      created_at: inUtc(session.created_at),
      last_active_at: inUtc(session.last_active_at),
      expires_at: inUtc(session.expires_at),
    },
    expires_at: ctx.bearer?.expires_at.toISOString() ?? (key_expires_at && inUtc(key_expires_at)),
  }
}
