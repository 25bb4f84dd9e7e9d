/**
 * The settings of a tenant: password policy, session lifetimes, registration, mail limits, look. Threat: a setting that disables a
 * protection, two that contradict each other, one that gives strangers a role which the caller does not hold, or one that leads mails
 * astray. Constraints bound each setting (tenant_settings, tenant_look); a trigger checks the role, who sets links, and settings
 * against each other (src/settings/settings.sql).
 */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import type { Ctx } from '../kernel/context.ts'
import { Text } from '../kernel/fields.ts'
import { Problem } from '../kernel/problem.ts'
import { matches, rfc3339, rowsOf, unchanged } from '../kernel/wire.ts'
import { Domain } from '../names/addresses.ts'
import { Name, PermissionName } from '../names/names.ts'
import { originFaults, PageOrigins } from '../names/origins.ts'
import { faultOf, LINKS_SHOWN, LinkPatch, LinkSettings } from './links.ts'
import { RISK, RiskWeightPatch, WEIGHTS_SHOWN } from './risk.ts'
import { tenant } from './table.ts'

/** Which of a user's permissions an access token carries. */
export const TokenPermissions = z.enum(['all', 'list', 'none']).openapi({
  description:
    'Which of the permissions of its user an access token carries: `all`, up to a hundred, those that are in token_permission_list, or `none`',
})
export const TokenPermissionList = z
  .array(PermissionName)
  .max(100)
  .openapi({
    description: 'The permissions that tokens carry whose user holds them, where token_permissions is `list`',
    example: ['document:read'],
  })

const whole = (min: number, max: number) => z.int().min(min).max(max)
const Editable = z.object({
  password_min_length: whole(8, 64),
  password_max_length: whole(64, 1024),
  password_upper: z.boolean(),
  password_lower: z.boolean(),
  password_digit: z.boolean(),
  password_special: z.boolean(),
  password_unique: whole(1, 32).openapi({ description: 'Minimum number of different characters' }),
  password_history: whole(0, 24).openapi({ description: 'Number of previous passwords that cannot be reused' }),
  password_personal: z.boolean().openapi({ description: 'Reject passwords that contain a part of the name or e-mail' }),
  password_common: z
    .boolean()
    .openapi({ description: 'Reject passwords that are guessed first: the commonest, the name of the tenant, sequences' }),
  password_breached: z.boolean().openapi({ description: 'Reject passwords that a public list of breached passwords holds' }),
  first_password_hours: whole(1, 720).openapi({
    description: 'Hours in which a password that somebody else chose must be used for the first time',
  }),
  password_days: whole(0, 3650).openapi({ description: 'Days until a password must be changed. 0: never.' }),
  password_warning_days: whole(0, 365).openapi({
    description: 'Days before the expiry of a password from which the user is warned',
  }),
  max_failures: whole(1, 100).openapi({ description: 'Wrong passwords until the login is locked out' }),
  lock_minutes: whole(1, 1440).openapi({ description: 'Minutes that a lockout lasts' }),
  access_minutes: whole(5, 10_080).openapi({ description: 'Lifetime of an access token in minutes' }),
  idle_days: whole(1, 365).openapi({
    description: 'Days without a request after which a session ends; setting it alone sets idle_minutes to null',
  }),
  idle_minutes: whole(15, 525_600).nullable().openapi({
    description:
      'Minutes without a request after which a session ends, in place of idle_days. null: idle_days counts. Activity is noted once a minute, so that a session can end up to a minute earlier.',
  }),
  session_days: whole(1, 365).openapi({ description: 'Days after which a session ends in any case' }),
  max_sessions: whole(1, 1000).openapi({ description: 'Concurrent sessions of one user. A further login ends the oldest.' }),
  reset_link_minutes: whole(15, 1440).openapi({ description: 'Minutes that a mailed link for a new password works' }),
  api_key_days: whole(0, 3650).openapi({
    description: 'Days until an API key expires that is created without expires_at. 0: never.',
  }),
  password_grant: z.boolean().openapi({ description: 'Offer the OAuth 2 password grant' }),
  email_login: z.boolean().openapi({ description: 'Let users log in with a code or a link that they are mailed' }),
  token_permissions: TokenPermissions,
  token_permission_list: TokenPermissionList,
  registration: z.boolean().openapi({ description: 'Allow self-registration' }),
  registration_domains: z.array(Domain).max(100).openapi({ description: 'E-mail domains that may register. Empty: any.' }),
  registration_role: Text(64)
    .nullable()
    .openapi({ description: "Role of users who register. null: the tenant's fallback role." }),
  mfa_required: z.boolean().openapi({ description: 'Require a second factor of everybody' }),
  mfa_required_roles: z
    .array(z.uuid())
    .max(50)
    .openapi({ description: 'Require a second factor of whoever holds one of these roles, or a role that inherits from one' }),
  mfa_grace_days: whole(0, 90).openapi({
    description:
      'Days to set up a second factor, from when it was required of more people than before, or from when the user was created. After them, sessions without one can only set it up.',
  }),
  mfa_remember_days: whole(0, 30).openapi({
    description:
      'Days for which somebody may have a device remembered, where logins then need no second factor. 0: none is remembered, and those that were are asked again.',
  }),
  delegation_approval: z.boolean().openapi({ description: 'Require approval of delegations' }),
  mail_per_recipient_hour: whole(1, 20).openapi({
    description: 'Mails or texts to one recipient within an hour; those that anybody can cause without a login are counted apart',
  }),
  mail_per_day: whole(1, 50_000).openapi({
    description: 'Mails and texts of the tenant in a day (UTC), of which a quarter is kept for those that take a login',
  }),
  max_delegations: whole(1, 200).openapi({ description: 'Delegations of one delegator that have not ended' }),
  notification_days: whole(1, 365).openapi({ description: 'Days for which notifications are kept' }),
  ...RISK,
  name: Name(70)
    .nullable()
    .openapi({ description: 'What pages and mails call the tenant. null: its legal name.', example: 'Acme' }),
  accent_color: z
    .string()
    .regex(/^#[0-9a-fA-F]{6}$/, 'must be a colour such as #1f4e79')
    .toLowerCase()
    .nullable()
    .openapi({
      description:
        'The colour of buttons and links on pages and in mails, as `#rrggbb`; where it could not be read it is made darker or lighter. null: the default.',
      example: '#1f4e79',
    }),
  links: LinkSettings,
  origins: PageOrigins.openapi({
    description:
      'Origins, beside the own host, whose pages may call from a browser, with tokens. A change is felt everywhere within 2 s. A removed one may go on to send for 10 minutes what its browser asked about before, and no longer reads the answers.',
    example: ['https://app.example.com', 'http://localhost:5173'],
  }),
})
export const Settings = Editable.extend({ updated_at: z.iso.datetime() }).openapi('Settings')
/** A JSON merge patch (RFC 7396). */
export const SettingsPatch = Editable.extend({ links: LinkPatch, risk_weights: RiskWeightPatch })
  .partial()
  .openapi('SettingsPatch')
type Settings = z.infer<typeof Settings>

const columns = Object.keys(Editable.shape) as (keyof z.infer<typeof Editable>)[]
const SHOWN: { [column: string]: string } = { links: LINKS_SHOWN, risk_weights: WEIGHTS_SHOWN }
const shown = columns.map((column) => SHOWN[column] ?? column).join(', ')
const one = sql`select ${sql.raw(shown)}, ${rfc3339('updated_at')} as updated_at from ${tenant}`

function read(result: unknown): Settings {
  const [settings] = rowsOf<Settings>(result)
  if (!settings) throw new Error('The settings of the realm cannot be read.')
  return settings
}

/** Gets the tenant's settings. One round trip; `setting:read`. */
export const getSettings = async (ctx: Ctx): Promise<Settings> => read((await ctx.run(ctx.db.execute(one)))[0])

/**
 * Changes the given settings. One round trip; `setting:update` at scope `all`. Fails with etag_mismatch, invalid_request (also
 * for a role that does not exist, and for settings that contradict each other after the change: idle time over session_days,
 * password_warning_days over password_days, password_unique over password_min_length; and for an origin on another tenant's host, or
 * outside of what operators allow, as far as the registry's copy says), forbidden (registration with a role that carries more than the
 * caller holds; a link, by who does not hold every permission).
 */
export async function patchSettings(ctx: Ctx, patch: z.infer<typeof SettingsPatch>, ifMatch?: string): Promise<Settings> {
  const faults = originFaults(ctx.config, ctx.realm, patch.origins ?? [])
  if (faults.length) throw new Problem('invalid_request', undefined, { errors: faults })
  // Whoever sets days and does not name minutes means the days.
  const wanted = patch.idle_days === undefined ? patch : { idle_minutes: null, ...patch }
  checkLinks(ctx, patch.links)
  const assignments = Object.entries(wanted).map(([column, value]) =>
    column === 'risk_weights'
      ? sql`risk_weights = risk_weights || ${JSON.stringify(value)}::jsonb`
      : column === 'links'
        ? sql`links = ${value === null ? sql`'{}'` : sql`jsonb_strip_nulls(links || ${JSON.stringify(value)}::jsonb)`}`
        : Array.isArray(value)
          ? sql`${sql.identifier(column)} = array(select jsonb_array_elements_text(${JSON.stringify(value)}::jsonb))`
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

/** Fails with invalid_request for links that only a tenant for demonstrations may have. */
function checkLinks(ctx: Ctx, links: z.infer<typeof LinkPatch> | undefined): void {
  const errors = Object.entries(links ?? {}).flatMap(([name, link]) => {
    const detail = link && faultOf(link, ctx.realm.is_demo)
    return detail ? [{ pointer: `#/links/${name}`, detail }] : []
  })
  if (errors.length) throw new Problem('invalid_request', undefined, { errors })
}
