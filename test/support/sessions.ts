/**
 * Sessions that are planted: the rows that a login leaves and the token that it answers with, without its attempt, its hash and the
 * Worker. For tests whose claim is not the login; those that are about logins, cookies, lockouts or what is remembered of them log in
 * with `login` of people.ts.
 */
import { type SQL, sql } from 'drizzle-orm'
import { type Entered, tokensOf } from '../../src/auth/auth.ts'
import type { Ctx } from '../../src/kernel/context.ts'
import { newToken, tokenHash } from '../../src/kernel/token.ts'
import type { Database } from './databases.ts'
import { type Inside, inside } from './inside.ts'

export type Credential = { session_id: string; user_id: string }
export type Planted = Credential & { access_token: string; refresh_token: string }

export const FACTS = { address: '192.0.2.1', agent: 'cy/1.0', method: 'GET', path: '/here', trace_id: 'a'.repeat(32) }

/** A session of somebody, of bo unless another username is given. A round trip to the master, and one to the realm. */
export async function plantSession(at: string | Inside, username = 'bo'): Promise<Planted> {
  const realm = typeof at === 'string' ? await inside(at) : at
  const refresh_token = newToken()
  const id = crypto.randomUUID()
  const whose = sql`from freehold.users u where u.username = ${username}`
  const [row] = await realm.asOwner(
    sql`select access.set_audit_actor(u.id, u.username, ${JSON.stringify(FACTS)}::jsonb) ${whose}`,
    sql`insert into freehold.sessions (id, user_id, device, address, expires_at)
        select ${id}, u.id, ${FACTS.agent}, ${FACTS.address}, now() + make_interval(days => t.session_days) from freehold.tenant t, freehold.users u where u.username = ${username}`,
    sql`insert into freehold.refresh_tokens (token_hash, session_id, device, expires_at)
        select ${await tokenHash(refresh_token)}::bytea, s.id, s.device, s.expires_at from freehold.sessions s where s.id = ${id}`,
    sql`select access.token_claims(u, s, t) as claims from freehold.sessions s join freehold.users u on u.id = s.user_id, freehold.tenant t where s.id = ${id}`,
  )
  if (!row) throw new Error(`There is no ${username}.`)
  const claims = row.claims as Entered['claims']
  const keys = [{ kid: realm.kid, public: realm.publicKey, private: realm.privateKey, use_from: new Date(0).toISOString() }]
  const ctx = {
    realm: { id: realm.id, subdomain: realm.subdomain || null, url: realm.url, keys },
    request: FACTS,
  } as unknown as Ctx
  const { access_token } = await tokensOf(ctx, { claims, refresh_token })
  return { access_token, refresh_token, session_id: claims.session_id, user_id: claims.user_id }
}

/** The access token of a planted session. */
export const tokenOf = async (at: string | Inside, username?: string) => (await plantSession(at, username)).access_token

/** What an admission asks for, of a planted session; `admit` adds the proof. */
export async function credentialOf(at: string | Inside, username?: string): Promise<Credential> {
  const { session_id, user_id } = await plantSession(at, username)
  return { session_id, user_id }
}

/** The statement by which a transaction is admitted, as by a token of the session that the credential names. */
export const admit = (
  database: Pick<Database, 'id' | 'proof'>,
  credential: object,
  permission: string | null,
  request: object = FACTS,
  any_password = false,
): SQL =>
  sql`select x.* from jsonb_to_record(access.admit(${database.id}, ${JSON.stringify({ proof: database.proof(credential), ...credential })}::jsonb, ${permission}, ${JSON.stringify(request)}::jsonb, ${any_password})) as x (user_id uuid, session_id uuid, scope text)`
