/**
 * What a tenant decides for itself: how passwords must be, how long logins last, who may register. Threat: a setting by which the door stands open,
 * or by which strangers get a role that who set it does not hold. How far each may go, a constraint says (tenant_settings); the role, a trigger.
 */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import type { Ctx } from '../kernel/context.ts'
import { Text } from '../kernel/fields.ts'
import { invalid } from '../kernel/problem.ts'
import { matches, rfc3339, rowsOf, unchanged } from '../kernel/wire.ts'
import { tenant } from './table.ts'

const whole = (min: number, max: number) => z.int().min(min).max(max)
/** A domain name, as it stands after the @. */
const Domain = z
  .string()
  .trim()
  .toLowerCase()
  .max(253)
  .regex(/^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}$/, 'must be a domain name, such as example.com')

const Editable = z.object({
  password_min_length: whole(8, 64),
  password_max_length: whole(64, 1024),
  password_upper: z.boolean(),
  password_lower: z.boolean(),
  password_digit: z.boolean(),
  password_special: z.boolean(),
  password_unique: whole(1, 32).openapi({ description: 'How many different characters' }),
  password_history: whole(0, 24).openapi({ description: 'None of so many passwords before' }),
  password_personal: z.boolean().openapi({ description: 'No part of the name or e-mail' }),
  password_common: z.boolean().openapi({ description: 'None of the commonest' }),
  password_days: whole(0, 3650).openapi({ description: 'Days until it must be changed; 0: never' }),
  password_warning_days: whole(0, 365).openapi({ description: 'Days before, from which on the person is told' }),
  max_failures: whole(1, 100).openapi({ description: 'Wrong passwords until the login is locked' }),
  lock_minutes: whole(1, 1440),
  access_minutes: whole(5, 10_080).openapi({ description: 'How long an access token lives' }),
  idle_days: whole(1, 365).openapi({ description: 'Days without a request after which a session has ended' }),
  session_days: whole(1, 365).openapi({ description: 'Days after which a session ends in any case' }),
  max_sessions: whole(1, 1000).openapi({ description: 'Sessions of one person at once; the oldest goes' }),
  registration: z.boolean().openapi({ description: 'Whether strangers may register' }),
  registration_domains: z.array(Domain).max(100).openapi({ description: 'With addresses of these domains; none: of any' }),
  registration_role: Text(64).nullable().openapi({ description: "The role that they get; null: the tenant's fallback" }),
  delegation_approval: z.boolean().openapi({ description: 'Whether a delegation waits for somebody who approves it' }),
})
export const Settings = Editable.extend({ updated_at: z.iso.datetime() }).openapi('Settings')
/** A JSON merge patch (RFC 7396). */
export const SettingsPatch = Editable.partial().openapi('SettingsPatch')
type Settings = z.infer<typeof Settings>

const columns = Object.keys(Editable.shape) as (keyof z.infer<typeof Editable>)[]
const one = sql`select ${sql.raw(columns.join(', '))}, ${rfc3339('updated_at')} as updated_at from ${tenant}`

function read(result: unknown): Settings {
  const [settings] = rowsOf<Settings>(result)
  if (!settings) throw new Error('An admitted person sees no settings.')
  return settings
}

/** The tenant's settings. One round trip; `setting:read`. */
export const getSettings = async (ctx: Ctx): Promise<Settings> => read((await ctx.run(ctx.db.execute(one)))[0])

/**
 * Changes what is named. One round trip; `setting:update` at scope `all`. Fails with etag_mismatch, invalid_request (also for a role that is none),
 * forbidden (a door for strangers to a role that the caller does not hold).
 */
export async function patchSettings(ctx: Ctx, patch: z.infer<typeof SettingsPatch>, ifMatch?: string): Promise<Settings> {
  const { password_min_length: min, password_max_length: max } = patch
  if (min !== undefined && max !== undefined && min > max)
    throw invalid('password_max_length', 'must not be less than password_min_length')
  const assignments = Object.entries(patch).map(([column, value]) =>
    column === 'registration_domains'
      ? sql`registration_domains = array(select jsonb_array_elements_text(${JSON.stringify(value)}::jsonb))`
      : sql`${sql.identifier(column)} = ${value}`,
  )
  const [changed, result] = await ctx.run(
    ctx.db.execute(
      sql`update ${tenant} set ${sql.join(assignments.length ? assignments : [sql`registration = registration`], sql`, `)} where ${matches('updated_at', ifMatch)} returning id`,
    ),
    ctx.db.execute(one),
  )
  const settings = read(result)
  if (rowsOf(changed).length === 0) throw unchanged(settings, ifMatch)
  return settings
}
