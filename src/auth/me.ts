import { z } from '@hono/zod-openapi'
import { eq, sql } from 'drizzle-orm'
import { api_keys } from '../api-keys/table.ts'
import type { Ctx } from '../kernel/context.ts'
import { build, fixed } from '../kernel/db.ts'
import { sessions } from '../sessions/table.ts'
import { users } from '../users/table.ts'

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
    tenant: z.string().nullable(),
  })
  .openapi('Me')

export const WhoAmI = z
  .object({
    sub: z.uuid(),
    username: z.string(),
    tenant: z.object({ id: z.uuid(), subdomain: z.string().nullable(), legal_name: z.string(), url: z.url() }),
    roles: z.array(z.string()),
    permissions: z.array(z.string()),
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

const caller = fixed(
  build
    .select({
      sub: users.id,
      username: users.username,
      email: users.email,
      email_verified: users.email_verified,
      given_name: users.given_name,
      family_name: users.family_name,
      held: sql<{ role: string | null; roles: string[] }>`access.my_roles()`,
      is_active: users.is_active,
    })
    .from(users)
    .where(eq(users.id, sql`(select access.principal())`)),
)

/** The current user. One round trip. */
export async function me(ctx: Ctx): Promise<z.infer<typeof Me>> {
  const [[user]] = await ctx.run(caller)
  if (!user) throw new Error('The admitted user does not exist.')
  const { held, ...profile } = user
  return { ...profile, ...held, tenant: ctx.realm.subdomain }
}

/** The caller as access decisions see them: session or key, roles, permissions, tenant and expiry. One round trip. */
export async function whoAmI(ctx: Ctx): Promise<z.infer<typeof WhoAmI>> {
  const { id, device, address, created_at, last_active_at, expires_at } = sessions
  const key = { id: api_keys.id, prefix: api_keys.prefix, name: api_keys.name, permissions: api_keys.permissions }
  const [[row]] = await ctx.run(
    ctx.db
      .select({
        sub: users.id,
        username: users.username,
        held: sql<{ roles: string[]; permissions: string[] }>`access.held()`,
        session: { id, device, address, created_at, last_active_at, expires_at },
        api_key: key,
        key_expires_at: api_keys.expires_at,
      })
      .from(users)
      .leftJoin(sessions, eq(sessions.id, sql`(select access.session())`))
      .leftJoin(api_keys, eq(api_keys.id, sql`(select access.key())`))
      .where(eq(users.id, sql`(select access.principal())`)),
  )
  if (!row) throw new Error('The admitted user does not exist.')
  const { session, held, key_expires_at, ...user } = row
  const { roles, permissions } = held
  return {
    ...user,
    roles,
    permissions,
    tenant: { id: ctx.realm.id, subdomain: ctx.realm.subdomain, legal_name: ctx.realm.legal_name, url: ctx.realm.url },
    session: session && {
      ...session,
      created_at: session.created_at.toISOString(),
      last_active_at: session.last_active_at.toISOString(),
      expires_at: session.expires_at.toISOString(),
    },
    expires_at: (ctx.bearer?.expires_at ?? key_expires_at)?.toISOString() ?? null,
  }
}
