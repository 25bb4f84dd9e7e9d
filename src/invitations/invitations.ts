/**
 * Invitations by mail, as those see them who invite. Threat: see invitations.sql; what is given, whether there is room, and which
 * address is invited already the database decides.
 */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import { create } from '../idempotency/idempotency.ts'
import type { Ctx } from '../kernel/context.ts'
import { Page, paged, pageOf, readCursor } from '../kernel/cursor.ts'
import { brokenConstraint } from '../kernel/db.ts'
import { Text } from '../kernel/fields.ts'
import { invalid, Problem } from '../kernel/problem.ts'
import { newMailToken, tokenHash } from '../kernel/token.ts'
import { rfc3339, rowsOf } from '../kernel/wire.ts'
import { withinScope } from '../lists/scope.ts'
import { deliver, encryptMailSecrets } from '../mail/mail.ts'
import { Email } from '../names/addresses.ts'
import { Name } from '../names/names.ts'
import { Locale } from '../users/fields.ts'

const Status = z.enum(['open', 'accepted', 'expired', 'revoked'])

export const NewInvitation = z
  .object({
    email: Email,
    organization_id: z.uuid().optional(),
    unit_id: z.uuid().optional().openapi({
      description: 'The unit of a new person. Whoever invites below scope `all` invites to their own unit by default',
    }),
    roles: z
      .array(Text(64))
      .min(1)
      .max(20)
      .optional()
      .openapi({
        description: 'Names or ids of roles that the caller holds and may assign; without it the role of who registers',
        example: ['user'],
      }),
    given_name: Name(255).optional(),
    family_name: Name(255).optional(),
    locale: Locale.optional().openapi({ description: 'Of the mail, and of the new person' }),
  })
  .openapi('NewInvitation')
export const Invitation = z
  .object({
    id: z.uuid(),
    email: z.string(),
    status: Status,
    organization_id: z.uuid().nullable(),
    unit_id: z.uuid().nullable(),
    roles: z.array(z.string()).openapi({ description: 'Names of the roles that it gives; none: the role of who registers' }),
    given_name: z.string().nullable(),
    family_name: z.string().nullable(),
    locale: z.string(),
    inviter_id: z.uuid().openapi({ description: 'Who invited, or sent the invitation again' }),
    created_at: z.iso.datetime(),
    updated_at: z.iso.datetime(),
    sent_at: z.iso.datetime(),
    expires_at: z.iso.datetime(),
    accepted_at: z.iso.datetime().nullable(),
    accepted_by: z.uuid().nullable(),
    revoked_at: z.iso.datetime().nullable(),
  })
  .openapi('Invitation')
export const InvitationList = pageOf(Invitation).openapi('InvitationList')
export const InvitationQuery = Page.extend({ status: Status.optional(), organization_id: z.uuid().optional() })

type Wire = z.infer<typeof Invitation>

const status = sql`case when i.accepted_at is not null then 'accepted' when i.revoked_at is not null then 'revoked'
  when i.expires_at <= now() or i.closed_at is not null then 'expired' else 'open' end`

const columns = sql`i.id, i.email, ${status} as status, i.organization_id, i.unit_id,
  (select coalesce(jsonb_agg(r.name order by r.name collate "C"), '[]') from freehold.roles r where r.id = any (i.role_ids)) as roles,
  i.given_name, i.family_name, i.locale, i.inviter_id, ${rfc3339('i.created_at')} as created_at, ${rfc3339('i.updated_at')} as updated_at,
  ${rfc3339('i.sent_at')} as sent_at, ${rfc3339('i.expires_at')} as expires_at, ${rfc3339('i.accepted_at')} as accepted_at, i.accepted_by,
  ${rfc3339('i.revoked_at')} as revoked_at`
const one = (id: string) => sql`select ${columns} from freehold.invitations i where i.id = ${id}`

function firstOrNotFound(result: unknown): Wire {
  const [invitation] = rowsOf<Wire>(result)
  if (!invitation) throw new Problem('not_found')
  return invitation
}

function mapConstraintErrors(error: unknown): never {
  const broken = brokenConstraint(error)
  if (broken === 'invitations_open')
    throw new Problem('already_exists', 'An invitation of this address is open: send it again, or revoke it.', { cause: error })
  if (broken === 'invitations_organization_id_organizations_id_fk')
    throw invalid('organization_id', 'is not an organization that you can access')
  throw error
}

/** A new token: its hash, and what the mail needs of it. */
async function newSecret(ctx: Ctx) {
  const token = newMailToken()
  return { token_hash: await tokenHash(token), encrypted: await encryptMailSecrets(ctx, { token }) }
}

/**
 * Invites somebody by mail, for seven days. One round trip; `invitation:create`, below scope `all` to the caller's units. Fails with
 * already_exists (a member, or an open invitation of this address), limit_reached (max_users with all open invitations, or of mails),
 * invalid_request (the caller's own address; a role, unit or organization that there is not), forbidden (a role that the caller does not
 * hold or may not assign), illegal_state (the account of this address is not active).
 */
export async function invite(ctx: Ctx, wanted: z.infer<typeof NewInvitation>): Promise<Wire> {
  const id = crypto.randomUUID()
  const { token_hash, encrypted } = await newSecret(ctx)
  const [invitation] = await create<Wire>(ctx, {
    before: [
      sql`select access.invite(${ctx.realm.id}, ${ctx.realm.system_key}, ${id}, ${JSON.stringify(wanted)}::jsonb, ${token_hash}::bytea, ${encrypted})`,
    ],
    made: sql`made as (${one(id)})`,
  }).catch(mapConstraintErrors)
  if (!invitation) throw new Problem('not_found')
  ctx.later(deliver(ctx))
  return invitation
}

/**
 * Lists invitations, newest first: those that the caller sent, and those to units in their scope. One round trip; `invitation:read`.
 * Fails with invalid_cursor.
 */
export async function listInvitations(ctx: Ctx, query: z.infer<typeof InvitationQuery>): Promise<z.infer<typeof InvitationList>> {
  const { limit, organization_id } = query
  const name = `invitations:${query.status ?? ''}:${organization_id ?? ''}`
  const [at, id] = (await readCursor(ctx.realm, name, query.cursor)) ?? []
  const conditions = [
    sql`true`,
    ...(at === undefined ? [] : [sql`(i.created_at, i.id) < (${at}::timestamptz, ${id}::uuid)`]),
    ...(query.status === undefined ? [] : [sql`${status} = ${query.status}`]),
    ...(organization_id === undefined ? [] : [sql`i.organization_id = ${organization_id}`]),
  ]
  const page = withinScope({
    columns: sql`i.id, i.created_at`,
    from: sql`freehold.invitations i`,
    owner: sql`i.inviter_id`,
    unit: sql`i.unit_id`,
    where: sql.join(conditions, sql` and `),
    order: sql`i.created_at desc, i.id desc`,
    sorted: sql`page.created_at desc, page.id desc`,
    limit: limit + 1,
  })
  const [result] = await ctx.run(
    ctx.db.execute(
      sql`select ${columns} from (${page}) page join freehold.invitations i on i.id = page.id order by i.created_at desc, i.id desc`,
    ),
  )
  return paged(ctx.realm, name, rowsOf<Wire>(result), limit, (row) => [row.created_at, row.id])
}

/** Gets an invitation. One round trip; `invitation:read`. Fails with not_found. */
export const getInvitation = async (ctx: Ctx, id: string): Promise<Wire> =>
  firstOrNotFound((await ctx.run(ctx.db.execute(one(id))))[0])

/**
 * Mails another token, for seven days from now; the one before is dead. The caller is the inviter from then on, and gives what it gives.
 * One round trip; `invitation:create`. Fails with not_found, illegal_state (accepted, revoked, or replaced by another), limit_reached,
 * forbidden.
 */
export async function resendInvitation(ctx: Ctx, id: string): Promise<Wire> {
  const { token_hash, encrypted } = await newSecret(ctx)
  const [, result] = await ctx.run(
    ctx.db.execute(
      sql`select access.resend_invitation(${ctx.realm.id}, ${ctx.realm.system_key}, ${id}, ${token_hash}::bytea, ${encrypted})`,
    ),
    ctx.db.execute(one(id)),
  )
  ctx.later(deliver(ctx))
  return firstOrNotFound(result)
}

/** Revokes an invitation: its token is dead. One round trip; `invitation:delete`. Fails with not_found, illegal_state. */
export async function revokeInvitation(ctx: Ctx, id: string): Promise<Wire> {
  const [, result] = await ctx.run(ctx.db.execute(sql`select access.revoke_invitation(${id})`), ctx.db.execute(one(id)))
  return firstOrNotFound(result)
}
