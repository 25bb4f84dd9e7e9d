/**
 * What a browser is asked for: a new passkey, or an answer of one. A passkey is for one host. After a rename those of a former name work
 * while the name is kept: a browser that is asked for them by that host has it say which origins may (Related Origins, Web Authentication
 * Level 3 section 5.11). Threat: the host of a name that somebody else has now says so of theirs. So a former host counts as long as the
 * registry keeps its name for this tenant, here, at its own address (http/renamed.ts) and when the answer is verified.
 */
import { decodeHex, encodeBase64urlNoPadding } from '@oslojs/encoding'
import { sql } from 'drizzle-orm'
import type { z } from 'zod'
import type { Ctx, Realm } from '../kernel/context.ts'
import { invalid } from '../kernel/problem.ts'
import { rowsOf } from '../kernel/wire.ts'
import { CHALLENGE_SECONDS, newChallenge, type Purpose } from './challenge.ts'
import { ALGORITHMS, userHandleOf } from './webauthn.ts'
import type { CreationOptions, RequestOptions } from './wire.ts'

const CALLER = sql`(select access.principal())`

export const hostOf = (url: string) => new URL(url).hostname
/** Those of names that the realm had and that are still kept for it. */
const formerHostsOf = ({ former_urls }: Realm) => former_urls.map(hostOf)
/** The hosts whose passkeys count, the realm's own first. */
export const hostsOf = (realm: Realm) => [hostOf(realm.url), ...formerHostsOf(realm)]
export const base64urlOf = (hex: string) => encodeBase64urlNoPadding(decodeHex(hex))

/** What to ask the browser for a new passkey of the caller. One round trip. */
export async function creationOptions(ctx: Ctx): Promise<z.infer<typeof CreationOptions>> {
  const [user, held] = await ctx.run(
    ctx.db.execute(
      sql`select u.id, u.username, concat_ws(' ', u.given_name, u.family_name) as name from freehold.users u where u.id = ${CALLER}`,
    ),
    ctx.db.execute(
      sql`select encode(k.credential_id, 'hex') as id, k.transports from freehold.passkeys k where k.user_id = ${CALLER} and k.rp_id = ${hostOf(ctx.realm.url)}`,
    ),
  )
  const [{ id, username, name } = { id: '', username: '', name: '' }] = rowsOf<{ id: string; username: string; name: string }>(
    user,
  )
  const others = rowsOf<{ id: string; transports: string[] }>(held).map(({ id, transports }) => ({
    type: 'public-key' as const,
    id: base64urlOf(id),
    transports,
  }))
  return newPasskeyOptions(ctx.realm, purposeOf(ctx), { id, name: username, displayName: name || username }, others)
}

/** What to ask the browser for a new passkey of a user, who has others. No round trip. */
export const newPasskeyOptions = async (
  realm: Realm,
  purpose: Purpose,
  { id, ...called }: { id: string; name: string; displayName: string },
  excludeCredentials: z.infer<typeof CreationOptions>['excludeCredentials'] = [],
): Promise<z.infer<typeof CreationOptions>> => ({
  challenge: await newChallenge(realm, purpose),
  rp: { id: hostOf(realm.url), name: realm.legal_name },
  user: { id: userHandleOf(id), ...called },
  pubKeyCredParams: ALGORITHMS.map((alg) => ({ type: 'public-key', alg })),
  timeout: CHALLENGE_SECONDS * 1000,
  excludeCredentials,
  authenticatorSelection: { residentKey: 'required', requireResidentKey: true, userVerification: 'required' },
  attestation: 'none',
})

/** A new passkey counts in the session that asked for it. */
export const purposeOf = ({ credential }: Ctx) =>
  `register:${credential && 'session_id' in credential ? credential.session_id : ''}` as const

/**
 * What to ask the browser for a login: any passkey that it has for this host, of whomever; or for a former one, `rp_id`. No round trip: a
 * challenge is stored when it is spent. Fails with invalid_request for a host of somebody else.
 */
export async function requestOptions(ctx: Ctx, rp_id?: string): Promise<z.infer<typeof RequestOptions>> {
  const { realm } = ctx
  if (rp_id !== undefined && !hostsOf(realm).includes(rp_id))
    throw invalid('rp_id', 'is no host of this tenant, or its name is not kept any more')
  return {
    challenge: await newChallenge(realm, 'login'),
    rpId: rp_id ?? hostOf(realm.url),
    former_rp_ids: formerHostsOf(realm),
    timeout: CHALLENGE_SECONDS * 1000,
    userVerification: 'required',
    allowCredentials: [],
  }
}
