/**
 * Passkeys: login without a password, and without a name. Threat: see webauthn.ts (what an authenticator answers), challenge.ts (what it
 * was asked) and passkeys.sql (replay, copies, who adds and removes one). The user is always verified by their device, so that a
 * passkey is two factors: what somebody has, and what they know or are.
 */
import { decodeBase64urlIgnorePadding, encodeHexLowerCase } from '@oslojs/encoding'
import { sql } from 'drizzle-orm'
import type { z } from 'zod'
import type { Entered } from '../auth/auth.ts'
import { type Challenged, openedChallenge } from '../auth/challenge.ts'
import { type EnterOutcome, enteredBy, formerHashes } from '../auth/login.ts'
import type { Ctx, Realm } from '../kernel/context.ts'
import { log } from '../kernel/log.ts'
import { invalid, Problem } from '../kernel/problem.ts'
import { newToken, tokenHash } from '../kernel/token.ts'
import { rfc3339, rowsOf } from '../kernel/wire.ts'
import { deliver } from '../mail/mail.ts'
import { deviceName, type Location } from '../sessions/device.ts'
import { type Purpose, readChallenge } from './challenge.ts'
import { base64urlOf, hostOf, hostsOf, purposeOf } from './options.ts'
import { challengeIn, NotVerified, userHandleOf, verifyAnswer, verifyNew } from './webauthn.ts'
import type { Assertion, NewCredential, Passkey } from './wire.ts'

type Own = z.infer<typeof Passkey>
type Answer = z.infer<typeof Assertion>

const CALLER = sql`(select access.principal())`
const columns = sql`k.id, k.name, k.rp_id, ${rfc3339('k.ends_at')} as ends_at, k.aaguid, k.transports, k.is_synced, ${rfc3339('k.created_at')} as created_at, ${rfc3339('k.last_used_at')} as last_used_at`

/** Postgres writes bytes in hexadecimal, WebAuthn in base64url. */
const hexOf = (base64url: string) => encodeHexLowerCase(decodeBase64urlIgnorePadding(base64url))

/**
 * Adds a passkey of the caller, and mails them that there is one. Without a name it gets that of the device. One round trip. Fails with
 * invalid_request (what is wrong with the answer), illegal_state (an answer that was used before), already_exists, limit_reached.
 */
export async function registerPasskey(
  ctx: Ctx,
  { name, credential }: { name?: string | undefined; credential: z.infer<typeof NewCredential> },
): Promise<Own> {
  const { realm } = ctx
  const { challenge, shown: row, stored } = await verifiedPasskey(ctx, purposeOf(ctx), 'credential', credential, name)
  const [added] = await ctx.run(
    ctx.db.execute(
      sql`select access.register_passkey(${realm.id}, ${realm.system_key}, ${challenge.hash}::bytea, ${challenge.expires_at.toISOString()}::timestamptz, ${JSON.stringify(stored)}::jsonb) as id, ${rfc3339('now()')} as created_at`,
    ),
  )
  const { id, created_at } = oneOf<{ id: string; created_at: string }>(added)
  ctx.later(deliver(ctx))
  return { id, ...row, ends_at: null, created_at, last_used_at: null }
}

/**
 * A new passkey that was verified, for the database to keep, and what is shown of it. `member`: where the request has it. Fails with
 * invalid_request: what is wrong with the answer.
 */
export async function verifiedPasskey(
  { realm, request }: Ctx,
  purpose: Purpose,
  member: string,
  credential: z.infer<typeof NewCredential>,
  name?: string,
) {
  const at = `${member}/response/clientDataJSON`
  const said = challengeIn(credential.response.clientDataJSON)
  const challenge = said === null ? null : await readChallenge(realm, purpose, said)
  if (said === null || !challenge) {
    if (purpose.startsWith('invitation:')) throw invalid(at, 'has no challenge of this invitation')
    throw invalid(at, 'has no challenge that this session was given')
  }
  if (challenge.expires_at.getTime() <= Date.now()) throw invalid(at, 'has a challenge that has expired: ask for new options')
  const expected = { origin: new URL(realm.url).origin, rp_ids: [hostOf(realm.url)], challenge: said }
  const made = await verifyNew(browserAnswer(credential), expected).catch((error) => {
    throw error instanceof NotVerified ? invalid(`${member}/${error.member}`, error.message) : error
  })
  const { credential_id, public_key, counter, ...rest } = made
  const shown = {
    ...rest,
    name: name ?? deviceName(request.agent)?.slice(0, 100) ?? 'Passkey',
    transports: credential.response.transports ?? [],
  }
  return { challenge, shown, stored: { ...shown, counter, credential_id: hexOf(credential_id), public_key: hexOf(public_key) } }
}

/** `mail`: its owner is told of it. A database that is a version behind does not say. */
type Refused = { outcome: 'refused'; mail?: boolean }

export type PasskeyLogin = {
  credential: Answer
  place: Location
  /** As of a login with a password (src/auth/login.ts). */
  devices: string[]
  former: Map<string, string>
}

/**
 * Logs in with a passkey. Two round trips: read its public key; spend the challenge and open the session. Fails with invalid_credentials
 * (whatever is wrong with the answer, no such passkey, a user who is not active), user_inactive (without any role),
 * password_change_required, limit_reached as a login does.
 */
export async function passkeyLogin(
  ctx: Ctx,
  { credential, place, devices, former }: PasskeyLogin,
): Promise<Entered | Challenged> {
  const { id, system_key } = ctx.realm
  const answer = await passkeyAnswer(ctx, credential)
  const refresh_token = newToken()
  const request = JSON.stringify({ ...ctx.request, ...place })
  const result = await ctx.call<EnterOutcome | Refused>(
    sql`access.finish_passkey_login(${id}, ${system_key}, ${answer}, ${await tokenHash(refresh_token)}::bytea, ${request}::jsonb, ${await formerHashes(former)}::jsonb, ${JSON.stringify(devices)}::jsonb)`,
  )
  if (result.outcome !== 'refused') return enteredBy(ctx, result, refresh_token)
  if (result.mail) ctx.later(deliver(ctx))
  throw refused()
}

/**
 * Ends a login with a passkey as its second factor. Two round trips, as a login with it. Fails with invalid_credentials (whatever is wrong
 * with the answer, a passkey of somebody else, or a login that has ended or failed too often), and as `enteredBy` does.
 */
export async function verifyPasskey(
  ctx: Ctx,
  { mfa_token, credential, place, former, remember }: Omit<PasskeyLogin, 'devices'> & { mfa_token: string; remember: boolean },
): Promise<Entered | Challenged> {
  const { id, system_key } = ctx.realm
  const opened = await openedChallenge(ctx, mfa_token)
  if (!opened) throw refused()
  const answer = await passkeyAnswer(ctx, credential)
  const refresh_token = newToken()
  const request = JSON.stringify({ ...ctx.request, ...place })
  const result = await ctx.call<EnterOutcome | Refused>(
    sql`access.verify_passkey(${id}, ${system_key}, ${await tokenHash(opened.token)}::bytea, ${answer}, ${await tokenHash(refresh_token)}::bytea, ${request}::jsonb, ${await formerHashes(former)}::jsonb${remember ? sql`, true` : sql``})`,
  )
  if (result.outcome !== 'refused') return enteredBy(ctx, result, refresh_token)
  if (result.mail) ctx.later(deliver(ctx))
  throw refused()
}

/**
 * What the database is told of an answer: whose, whether it is right, and what it was asked. One round trip. Fails with
 * invalid_credentials for a challenge that is none of this tenant, or has expired.
 */
export async function passkeyAnswer(ctx: Ctx, credential: Answer) {
  const { realm } = ctx
  const said = challengeIn(credential.response.clientDataJSON)
  const challenge = said === null ? null : await readChallenge(realm, 'login', said)
  if (said === null || !challenge || challenge.expires_at.getTime() <= Date.now()) throw refused()
  const presented = `\\x${hexOf(credential.id)}`
  const known = await ctx.call<{ user_id: string; public_key: string; rp_id: string } | null>(
    sql`access.begin_passkey_login(${realm.id}, ${realm.system_key}, ${presented}::bytea)`,
  )
  const { wrong, counter } = await verdict(realm, known, credential, said)
  return sql`${presented}::bytea, ${wrong}::text, ${challenge.hash}::bytea, ${challenge.expires_at.toISOString()}::timestamptz, ${counter}::bigint`
}

/** Whether a passkey answered: its counter, or why it did not, for the audit alone. */
async function verdict(
  realm: Realm,
  known: { user_id: string; public_key: string; rp_id: string } | null,
  credential: Answer,
  challenge: string,
): Promise<{ wrong: string | null; counter: number }> {
  const is_ours = known && hostsOf(realm).includes(known.rp_id) && credential.response.userHandle === userHandleOf(known.user_id)
  if (!is_ours) return { wrong: 'wrong_passkey', counter: 0 }
  const expected = { origin: new URL(realm.url).origin, rp_ids: [known.rp_id], challenge }
  try {
    return { wrong: null, counter: await verifyAnswer(browserAnswer(credential), base64urlOf(known.public_key), expected) }
  } catch (error) {
    if (!(error instanceof NotVerified)) throw error
    log('passkey refused', { tenant: realm.subdomain, why: `${error.member} ${error.message}` })
    return { wrong: 'wrong_passkey', counter: 0 }
  }
}

const refused = () => new Problem('invalid_credentials', 'The passkey was not accepted: ask for new options and try again.')

/** As the library takes it. */
const browserAnswer = <T extends z.infer<typeof NewCredential> | Answer>({ id, rawId, type, response }: T) =>
  ({ id, rawId, type, clientExtensionResults: {}, response: { ...response, userHandle: undefined } }) as never

/** Lists the caller's passkeys, newest first; there are 20 at most. One round trip. */
export async function listPasskeys(ctx: Ctx): Promise<{ data: Own[] }> {
  const [result] = await ctx.run(
    ctx.db.execute(
      sql`select ${columns} from freehold.passkeys k where k.user_id = ${CALLER} order by k.created_at desc, k.id desc`,
    ),
  )
  return { data: rowsOf<Own>(result) }
}

/** Renames a passkey of the caller. One round trip. Fails with not_found. */
export async function renamePasskey(ctx: Ctx, id: string, name: string): Promise<Own> {
  const [result] = await ctx.run(
    ctx.db.execute(
      sql`update freehold.passkeys k set name = ${name} where k.id = ${id} and k.user_id = ${CALLER} returning ${columns}`,
    ),
  )
  return oneOf(result)
}

/** Removes a passkey of the caller, and mails them. One round trip. Fails with not_found, illegal_state (it is the only way in). */
export async function removePasskey(ctx: Ctx, id: string): Promise<void> {
  const [result] = await ctx.run(
    ctx.db.execute(sql`delete from freehold.passkeys k where k.id = ${id} and k.user_id = ${CALLER} returning k.id`),
  )
  if (!rowsOf(result).length) throw new Problem('not_found')
  ctx.later(deliver(ctx))
}

function oneOf<T>(result: unknown): T {
  const [row] = rowsOf<T>(result)
  if (!row) throw new Problem('not_found')
  return row
}
