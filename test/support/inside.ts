/** A realm from inside: its database as its owner, its signing key. For what HTTP cannot show, and for what must not pass. */
import { type SQL, sql } from 'drizzle-orm'
import { exportJWK, generateKeyPair, importJWK, type JWK, type JWTPayload, SignJWT } from 'jose'
import { inject, TestRunner } from 'vitest'
import { parseSettings } from '../../src/kernel/config.ts'
import { batch, useSqlUrl } from '../../src/kernel/db.ts'
import { decrypt, encrypt } from '../../src/kernel/keyring.ts'
import { systemKeyOf } from '../../src/kernel/token.ts'
import { hash } from '../../src/passwords/hash.ts'
import { openOwnerUrl } from '../../src/tenants/provisioning/owner-url.ts'
import { REAL_ITERATIONS } from './cost.ts'

type Rows = Record<string, any>[]
export type Inside = {
  id: string
  /** '' is the platform. */
  subdomain: string
  url: string
  /** By which the database knows the Worker. */
  system_key: string
  kid: string
  publicKey: JWK
  privateKey: JWK
  /** Runs statements as freehold_owner, who is above row level security, and gives the rows of the last one. */
  asOwner: (...statements: SQL[]) => Promise<Rows>
}

/** A tenant that exists; '' is the platform's own realm. */
export async function inside(subdomain: string): Promise<Inside> {
  const config = parseSettings(inject('settings'))
  useSqlUrl(config.NEON_SQL_URL)
  const party = subdomain
    ? sql`select id, owner_url_encrypted, refresh_key_encrypted from platform.tenants where subdomain = ${subdomain}`
    : sql`select id, refresh_key_encrypted from platform.realm`
  const [[found], [key]] = (await batch(config.MASTER_DATABASE_URL, [
    party,
    sql`select * from platform.signing_keys where realm_id = (select id from (${party}) p) order by use_from limit 1`,
  ])) as [Rows, Rows]
  if (!found || !key) throw new Error(`There is no realm "${subdomain}".`)
  const { id } = found
  const open = (field: string, sealed: string) => decrypt(config.ENCRYPTION_KEYS, id, field, sealed)
  const url = subdomain ? await openOwnerUrl(config, id, found.owner_url_encrypted) : config.MASTER_DATABASE_URL
  return {
    id,
    subdomain,
    url: subdomain ? `http://${subdomain}.freehold.test` : 'http://freehold.test',
    system_key: await systemKeyOf(await open('refresh_key', found.refresh_key_encrypted)),
    kid: key.kid,
    publicKey: key.public_jwk,
    privateKey: JSON.parse(await open(`signing_key:${key.kid}`, key.private_jwk_encrypted)),
    asOwner: async (...statements) => (await batch(url, [sql`set local role freehold_owner`, ...statements])).at(-1) ?? [],
  }
}

export type Person = { id: string; username: string; email: string; password: string }

type Described = { roles?: string[]; password?: string; fullCost?: boolean }

/** Adds a person straight to the database; `roles` are names of roles that exist. Their logins are cheap, but with `fullCost`. */
export async function addPerson(realm: Inside, username: string, described: Described = {}): Promise<Person> {
  const { roles = ['user'], password = 'Violet-Anchor-38', fullCost = false } = described
  const email = `${username}@people.test`
  const iterations = fullCost ? REAL_ITERATIONS : parseSettings(inject('settings')).PASSWORD_HASH_ITERATIONS
  const password_hash = await hash(password, iterations)
  // Whom the first try of a test added makes room for the second.
  const is_again = (TestRunner.getCurrentTest()?.result?.retryCount ?? 0) > 0
  const [row] = await realm.asOwner(
    ...(is_again
      ? [sql`update freehold.users set username = 'was-' || id, email = 'was-' || email where username = ${username}`]
      : []),
    sql`insert into freehold.users (id, username, email, role, given_name, family_name)
      values (gen_random_uuid(), ${username}, ${email}, ${roles[0] ?? null}, 'Cyan', 'Okonkwo')`,
    sql`insert into freehold.passwords (id, user_id, password_hash)
      select gen_random_uuid(), id, ${password_hash} from freehold.users where username = ${username}`,
    sql`insert into freehold.user_roles (id, user_id, role_id) select gen_random_uuid(), u.id, r.id from freehold.users u, freehold.roles r
      where u.username = ${username} and r.name in (select jsonb_array_elements_text(${JSON.stringify(roles.slice(1))}::jsonb))`,
    sql`select id from freehold.users where username = ${username}`,
  )
  return { id: row?.id, username, email, password }
}

/** Takes the password of a person away, as of one who only ever logs in elsewhere. */
export const takePassword = (realm: Inside, username: string) =>
  realm.asOwner(sql`delete from freehold.passwords where user_id = (select id from freehold.users where username = ${username})`)

/** What the realm's own tokens carry beside the id of a session. */
async function proofOf(realm: Inside, sid: string): Promise<{ proof?: string }> {
  const [row] = await realm.asOwner(sql`select access.session_proof(${sid}::uuid) as proof`).catch(() => [])
  return row ? { proof: row.proof } : {}
}

type Forged = { header?: Record<string, unknown>; claims?: JWTPayload & Record<string, unknown>; without?: string[]; key?: JWK }

/** A token that the realm itself might have signed, but for what `forged` changes. */
export async function forge(realm: Inside, subject: { sub: string; sid: string }, forged: Forged = {}): Promise<string> {
  const now = Math.floor(Date.now() / 1000)
  const payload: JWTPayload = {
    iss: realm.url,
    aud: realm.url,
    tid: realm.id,
    iat: now,
    exp: now + 900,
    uid: subject.sub,
    ...subject,
    ...(await proofOf(realm, subject.sid)),
    ...forged.claims,
  }
  for (const name of forged.without ?? []) delete payload[name]
  return new SignJWT(payload)
    .setProtectedHeader({ alg: 'ES256', typ: 'at+jwt', kid: realm.kid, ...forged.header })
    .sign(await importJWK(forged.key ?? realm.privateKey, 'ES256'))
}

/** Gives a tenant a second signing key, to be used `later` ("1 hour"). */
export async function publishKey(subdomain: string, later: string): Promise<{ kid: string; privateKey: JWK }> {
  const config = parseSettings(inject('settings'))
  const { id } = await inside(subdomain)
  const pair = await generateKeyPair('ES256', { extractable: true })
  const [shown, privateKey] = [await exportJWK(pair.publicKey), await exportJWK(pair.privateKey)]
  const kid = crypto.randomUUID()
  const sealed = await encrypt(config.ENCRYPTION_KEYS, id, `signing_key:${kid}`, JSON.stringify(privateKey))
  await batch(config.MASTER_DATABASE_URL, [
    sql`insert into platform.signing_keys (kid, realm_id, public_jwk, private_jwk_encrypted, use_from)
      values (${kid}, ${id}, ${JSON.stringify({ ...shown, kid, alg: 'ES256', use: 'sig' })}::jsonb, ${sealed}, now() + ${later}::interval)`,
  ])
  return { kid, privateKey }
}
