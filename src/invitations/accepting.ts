/**
 * Accepting an invitation: as a new person with a password or a passkey, or as somebody who is logged in. Threat: see accepting.sql; and a
 * passkey that was made for another invitation or another account. The Worker judges and hashes the password, or verifies the passkey,
 * whose challenge is of this token; what a token is for, and whether it still works, the database decides.
 */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import type { Ctx } from '../kernel/context.ts'
import { invalid, Problem } from '../kernel/problem.ts'
import { tokenHash } from '../kernel/token.ts'
import { rowsOf } from '../kernel/wire.ts'
import { deliver } from '../mail/mail.ts'
import { Name } from '../names/names.ts'
import { newPasskeyOptions } from '../passkeys/options.ts'
import { verifiedPasskey } from '../passkeys/passkeys.ts'
import { NewCredential } from '../passkeys/wire.ts'
import { hash } from '../passwords/hash.ts'
import { brokenRules, issuesOf, type Policy } from '../passwords/policy.ts'
import { invalidToken, MailToken, Password } from '../recovery/recovery.ts'
import { Username } from '../users/fields.ts'
import { usernameFrom } from '../users/username.ts'

const OF_NEW = 'Of a new person; left out by somebody who is logged in'

export const Acceptance = z
  .object({
    token: MailToken,
    password: Password.optional().openapi({ description: OF_NEW }),
    passkey: NewCredential.optional().openapi({ description: 'In place of a password; see `POST /invitations/accept/options`' }),
    username: Username.optional().openapi({ description: `${OF_NEW}. It gets a suffix if it is taken` }),
    given_name: Name(255).optional().openapi({ description: OF_NEW }),
    family_name: Name(255).optional().openapi({ description: OF_NEW }),
  })
  .openapi('Acceptance')
export const AcceptedInvitation = z
  .object({
    id: z.uuid().openapi({ description: 'Of the user' }),
    username: z.string(),
    email: z.string(),
    organization_id: z.uuid().nullable(),
    roles: z.array(z.string()),
  })
  .openapi('AcceptedInvitation')

export const PreviewRequest = z.object({ token: MailToken }).openapi('PreviewRequest')
export const Preview = z
  .object({
    email: z.string(),
    given_name: z.string().nullable(),
    family_name: z.string().nullable(),
    organization_id: z.uuid().nullable(),
    organization: z.string().nullable().openapi({ description: 'Its name' }),
    inviter: z.string().openapi({ description: 'What whoever invited is called' }),
    expires_at: z.iso.datetime(),
    is_user: z.boolean().openapi({ description: 'The address has an account: log in with it, then accept' }),
  })
  .openapi('InvitationPreview')

/** `id`: of the invitation. */
type Known = z.infer<typeof Preview> & { id: string; policy: Policy }
type Outcome = ({ outcome: 'done' } & z.infer<typeof AcceptedInvitation>) | { outcome: 'invalid' | 'known' | 'void' | 'other' }

const knownBy = async (ctx: Ctx, token: string): Promise<Known> => {
  const known = await ctx.call<Known | null>(
    sql`access.preview_invitation(${ctx.realm.id}, ${ctx.realm.system_key}, ${await tokenHash(token)}::bytea)`,
  )
  if (!known) throw invalidToken()
  return known
}

/** What somebody is invited to. One round trip. Fails with invalid_request: the token is not valid. */
export async function previewInvitation(ctx: Ctx, { token }: z.infer<typeof PreviewRequest>): Promise<z.infer<typeof Preview>> {
  return Preview.parse(await knownBy(ctx, token))
}

/** A challenge is for one token: the one before a resend is dead, and so are its challenges. */
const purposeOf = async (token: string) => `invitation:${await tokenHash(token)}` as const

/**
 * What to ask the browser for the passkey of a new person. It is for the id that they get: that of the invitation, so that whoever asks
 * twice leaves one passkey in their device. One round trip. Fails as previewInvitation does, and with already_exists.
 */
export const passkeyOptions = async (ctx: Ctx, { token }: z.infer<typeof PreviewRequest>) =>
  (await withPasskeyOptions(ctx, { token })).options ?? raise(logInFirst())

/** What somebody is invited to, and the same options if they are new. One round trip. Fails as previewInvitation does. */
export async function withPasskeyOptions(ctx: Ctx, { token }: z.infer<typeof PreviewRequest>) {
  const known = await knownBy(ctx, token)
  const displayName = [known.given_name, known.family_name].filter(Boolean).join(' ') || known.email
  const user = { id: known.id, name: known.email, displayName }
  const options = known.is_user ? null : await newPasskeyOptions(ctx.realm, await purposeOf(token), user)
  return { invitation: Preview.parse(known), options }
}

const raise = (problem: Problem): never => {
  throw problem
}

/**
 * Accepts as a new person, whose address the token proves. Two round trips. Fails with invalid_request (the token is unknown, used,
 * revoked or expired, or its inviter may not invite any more; every rule that the password breaks, or what is wrong with the passkey),
 * already_exists (the address has an account; the passkey is known), illegal_state (the answer of the passkey was used before), limit_reached (the invitation stays open), illegal_state (nothing that it promised can be given any more).
 */
export async function acceptInvitation(
  ctx: Ctx,
  { token, password, passkey, username, ...names }: z.infer<typeof Acceptance>,
): Promise<z.infer<typeof AcceptedInvitation>> {
  if (password !== undefined && passkey) throw invalid('passkey', 'is in place of a password: send one of them')
  const known = await knownBy(ctx, token)
  if (known.is_user) throw logInFirst()
  const { given_name = known.given_name, family_name = known.family_name } = names
  const user = { email: known.email, username: username ?? usernameFrom(known.email), given_name, family_name }
  const proof = passkey ? await byPasskey(ctx, token, passkey) : await byPassword(ctx, password, user, known.policy)
  const wanted = JSON.stringify({ ...names, username: user.username })
  return acceptedOf(
    ctx,
    await ctx.call<Outcome>(
      sql`access.accept_invitation(${ctx.realm.id}, ${ctx.realm.system_key}, ${await tokenHash(token)}::bytea, ${proof.hashed}::text, ${wanted}::jsonb, ${JSON.stringify(ctx.request)}::jsonb${proof.passkey})`,
    ),
  )
}

async function byPassword(ctx: Ctx, password: string | undefined, user: Parameters<typeof brokenRules>[2], policy: Policy) {
  if (password === undefined) throw invalid('password', 'is missing')
  const rules = await brokenRules(ctx, password, user, policy)
  if (rules.length) throw new Problem('invalid_request', undefined, { errors: issuesOf('password', rules) })
  return { hashed: await hash(password, ctx.config.PASSWORD_HASH_ITERATIONS), passkey: sql`` }
}

async function byPasskey(ctx: Ctx, token: string, credential: z.infer<typeof NewCredential>) {
  const { challenge, stored } = await verifiedPasskey(ctx, await purposeOf(token), 'passkey', credential)
  const spent = { challenge_hash: challenge.hash, challenge_expires_at: challenge.expires_at.toISOString() }
  return { hashed: null, passkey: sql`, ${JSON.stringify({ ...stored, ...spent })}::jsonb` }
}

/**
 * Moves the current user, whose address was invited: they leave their former organization and get the roles. One round trip; a session.
 * Fails as acceptInvitation does, and with forbidden: the invitation is for another address.
 */
export async function joinByInvitation(ctx: Ctx, token: string): Promise<z.infer<typeof AcceptedInvitation>> {
  const [result] = await ctx.run(
    ctx.db.execute(
      sql`select access.join_by_invitation(${ctx.realm.id}, ${ctx.realm.system_key}, ${await tokenHash(token)}::bytea) as outcome`,
    ),
  )
  return acceptedOf(ctx, rowsOf<{ outcome: Outcome }>(result)[0]?.outcome ?? { outcome: 'invalid' })
}

const logInFirst = () => new Problem('already_exists', 'This address has an account: log in with it, then accept the invitation.')

function acceptedOf(ctx: Ctx, answer: Outcome): z.infer<typeof AcceptedInvitation> {
  if (answer.outcome === 'known') throw logInFirst()
  if (answer.outcome === 'other') throw new Problem('forbidden', 'This invitation is for another address.')
  if (answer.outcome === 'void')
    throw new Problem('illegal_state', 'Whoever invited you cannot give these roles any more: ask for another invitation.')
  if (answer.outcome !== 'done') throw invalidToken()
  // The mail to whoever invited.
  ctx.later(deliver(ctx))
  const { outcome: _, ...accepted } = answer
  return accepted
}
