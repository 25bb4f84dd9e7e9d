/** The groups of a person: the manageable roles, all of them set in one request. */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import type { Ctx } from '../kernel/context.ts'
import { Text } from '../kernel/fields.ts'
import { Problem } from '../kernel/problem.ts'
import { rowsOf } from '../kernel/wire.ts'
import { exists } from '../users/reports.ts'
import { current } from './wire.ts'

export const GroupSet = z
  .object({
    groups: z
      .array(Text(64))
      .max(100)
      .openapi({
        description: 'Names or ids of manageable roles; the user holds these and no others',
        example: ['group_reader'],
      }),
  })
  .openapi('GroupSet')
export const Group = z
  .object({
    id: z.uuid(),
    name: z.string(),
    description: z.string().nullable(),
    is_active: z.boolean(),
    is_held: z.boolean().openapi({ description: 'The user holds it now' }),
  })
  .openapi('Group')
export const GroupList = z.object({ data: z.array(Group) }).openapi('GroupList')

/** More groups than a tenant has; they are data of presets, and of administrators. */
const MOST = 1_000

const groupsOf = (user_id: string) => sql`select r.id, r.name, r.description, r.is_active,
    exists (select from freehold.user_roles ur where ur.user_id = ${user_id} and ur.role_id = r.id and ${current(sql`ur`)}) as is_held
  from freehold.roles r where r.is_manageable and r.deleted_at is null order by r.name collate "C" limit ${MOST}`

/** Lists the manageable roles, and which of them a user holds. One round trip; `user:read`. Fails with not_found. */
export async function listGroups(ctx: Ctx, user_id: string): Promise<z.infer<typeof GroupList>> {
  const [users, result] = await ctx.run(ctx.db.execute(exists(user_id)), ctx.db.execute(groupsOf(user_id)))
  if (!rowsOf(users).length) throw new Problem('not_found')
  return { data: rowsOf<z.infer<typeof Group>>(result) }
}

/**
 * Sets the manageable roles of a user: gives those that they lack, and ends those that are not named, all or nothing. Other roles stay.
 * One round trip; `role:update`. Fails with not_found, forbidden (a role that the caller does not hold; the caller themselves, who may only give groups up),
 * invalid_request (what is no manageable role), limit_reached.
 */
export async function setGroups(
  ctx: Ctx,
  user_id: string,
  { groups }: z.infer<typeof GroupSet>,
): Promise<z.infer<typeof GroupList>> {
  const [, result] = await ctx.run(
    ctx.db.execute(sql`select access.set_groups(${user_id}, ${JSON.stringify(groups)}::jsonb)`),
    ctx.db.execute(groupsOf(user_id)),
  )
  return { data: rowsOf<z.infer<typeof Group>>(result) }
}
