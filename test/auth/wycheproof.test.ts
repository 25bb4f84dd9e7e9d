/**
 * Threat: every known way in which a JWS library was fooled. The vectors are Wycheproof's; each goes through the real door,
 * GET /api/v1/auth/me, of a tenant that has published the vector's own key, so that the signature check itself is met.
 */
import { env } from 'cloudflare:workers'
import { decodeBase64urlIgnorePadding, encodeBase64urlNoPadding } from '@oslojs/encoding'
import { sql } from 'drizzle-orm'
import { importJWK, type JWK, SignJWT } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { encrypt } from '../../src/kernel/keyring.ts'
import { verify } from '../../src/kernel/token.ts'
import { lookUp } from '../../src/tenants/registry/registry.ts'
import { master, settings } from '../support/databases.ts'
import { forge, type Inside, inside } from '../support/inside.ts'
import { type Heard, knock } from '../support/knock.ts'
import { login } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { copyTenant } from '../support/tenants.ts'

declare global {
  interface ImportMeta {
    /** Vite's: modules by pattern; none where the folder is missing. */
    glob: <T>(pattern: string, options: { eager: true; import: 'default'; query?: string }) => Record<string, T>
  }
}

type Key = JWK & { kid?: string }
type Case = { tcId: number; comment: string; jws: string; result: 'valid' | 'invalid' }
type Group<K> = { comment: string; public?: K; private?: K; tests: Case[] }
type Vectors<K> = { numberOfTests: number; testGroups: Group<K>[] }

const files = import.meta.glob<Vectors<any>>('../../../shared/data/wycheproof/*.json', { eager: true, import: 'default' })
const vectorsOf = <K>(name: string) => Object.entries(files).find(([path]) => path.endsWith(name))?.[1] as Vectors<K> | undefined
const signatures = vectorsOf<Key>('json_web_signature_test.json')
const keySets = vectorsOf<{ keys: Key[] }>('json_web_key_test.json')
const MISSING = 'skipped: ../shared/data/wycheproof is not there'

const ME = 'http://vectors.freehold.test/api/v1/auth/me'
const ran = { jws: 0, jwk: 0, altered: 0 }
let realm: Inside
let bo: { sub: string; sid: string }
/** A key pair of Wycheproof's for ES256: with it, tokens can be made whose claims are good. */
const es256 = signatures?.testGroups.find(({ comment }) => comment === 'es256')

const bearing = (token: string) => knock(ME, { headers: { Authorization: `Bearer ${token}` } })

/** What a key of a group shows: its public part, or all of it when it is a secret. */
const shown = <K>(group: Group<K>) => (group.public ?? group.private) as K

beforeAll(async () => {
  if (!signatures && !keySets) return
  await copyTenant('vectors')
  await login('vectors')
  realm = await inside('vectors')
  const [session] = await realm.asOwner(sql`select user_id as sub, id as sid from freehold.sessions`)
  bo = session as typeof bo
})

afterAll(() => console.log(signatures || keySets ? `Wycheproof: ${JSON.stringify(ran)} cases.` : MISSING))

/** Makes these the tenant's published keys beside its own: used for nothing by itself, looked up for verifying. */
async function publish(keys: Key[]): Promise<void> {
  const config = settings()
  const sealed = (kid: string) => encrypt(config.ENCRYPTION_KEYS, realm.id, `signing_key:${kid}`, '{}')
  await master(
    sql`delete from platform.signing_keys where realm_id = ${realm.id} and kid <> ${realm.kid}`,
    ...(await Promise.all(
      keys.map(
        async ({ kid = '', ...key }) =>
          sql`insert into platform.signing_keys (kid, realm_id, public_jwk, private_jwk_encrypted, use_from)
            values (${kid}, ${realm.id}, ${JSON.stringify({ ...key, kid })}::jsonb, ${await sealed(kid)}, now() + interval '1 day')`,
      ),
    )),
    sql`update platform.tenants set v = nextval('platform.registry_v') where id = ${realm.id}`,
  )
  const found = await lookUp({ env, config, meter: { master: 0 } }, 'vectors', true)
  expect(found?.realm?.keys.map(({ kid }) => kid)).toEqual(expect.arrayContaining([realm.kid, ...keys.map(({ kid }) => kid)]))
}

/** Refused as a token that is not valid, as none at all, or as what is no single credential. Never let in, never an accident. */
function expectRefused(answer: Heard, about: string) {
  const allowed = { token_invalid: 401, token_missing: 401, credentials_ambiguous: 400 }
  const code = answer.body?.code as keyof typeof allowed
  expect(Object.keys(allowed), `${about}: ${answer.status} ${answer.text}`).toContain(code)
  expectProblem(answer, allowed[code], code, about)
}

/** Why a token does not verify under a key, in the words of the library; `claims` when its signature is good. */
async function reason(key: Key, token: string): Promise<string> {
  const use_from = new Date().toISOString()
  const party = { id: realm.id, url: realm.url, keys: [{ kid: key.kid ?? '', public: key, private: {}, use_from }] }
  const failure = await verify(party, token).then(
    () => null,
    (error: Error) => error.cause as { code?: string; name: string },
  )
  if (!failure) return 'none'
  return /^ERR_(JWT|JOSE_NOT_JWT)/.test(failure.code ?? '') ? 'claims' : (failure.code ?? failure.name)
}

describe.skipIf(!signatures)(`JSON Web Signatures of Wycheproof${signatures ? '' : ` (${MISSING})`}`, () => {
  const groups = signatures?.testGroups ?? []
  const numbered = groups.map((group, i): [string, Group<Key>] => [`${i} ${group.comment}`, group])

  it.each(numbered)('%s: no case is let in by the tenant that has published its key', async (_, group) => {
    const key = shown(group)
    await publish([{ kid: 'nameless', ...key }])
    for (const { tcId, comment, jws } of group.tests) {
      expectRefused(await bearing(jws), `${tcId} ${comment}`)
      ran.jws++
    }
  })

  it('are all there', () => expect(ran.jws).toBe(signatures?.numberOfTests))

  it('a token with good claims under that same key is let in, so that the key is one that counts', async () => {
    const key = shown(es256 as Group<Key>)
    await publish([key])
    expect((await bearing(await ownToken())).status).toBe(200)
  })

  it.each(numbered.filter(([, { public: key }]) => key?.alg === 'ES256' && key.crv === 'P-256'))(
    '%s: a good signature fails for its claims only, a bad one as a signature',
    async (_, group) => {
      for (const { tcId, comment, jws, result } of group.tests) {
        const why = await reason(shown(group), jws)
        if (result === 'valid') expect(why, `${tcId} ${comment}`).toBe('claims')
        else expect(['claims', 'none'], `${tcId} ${comment}: ${why}`).not.toContain(why)
      }
    },
  )

  it.each(['use', 'key_ops'] as const)('a key whose `%s` says that it is for encryption lets nobody in', async (name) => {
    const group = groups.find(({ comment, public: key }) => comment === 'ec_key_for_encryption' && key?.[name])
    const kid = `for-encryption-${name}`
    await publish([{ ...shown(group as Group<Key>), kid }])
    expectRefused(await bearing(await ownToken(kid)), name)
  })

  const N = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n
  const bytes = (value: bigint, size: number) =>
    Uint8Array.from({ length: size }, (_, i) => Number((value >> BigInt(8 * (size - 1 - i))) & 255n))
  const number = (raw: Uint8Array) => raw.reduce((sum, byte) => sum * 256n + BigInt(byte), 0n)
  const pair = (r: bigint, s: bigint, size = 32) => Uint8Array.of(...bytes(r, size), ...bytes(s, size))
  const der = (value: bigint) => {
    const raw = bytes(value, value >> 255n ? 33 : 32)
    return [2, raw.length, ...raw]
  }

  it.each<[string, (r: bigint, s: bigint) => Uint8Array | string]>([
    ['33 bytes each', (r, s) => pair(r, s, 33)],
    ['64 bytes each', (r, s) => pair(r, s, 64)],
    ['a zero behind', (r, s) => Uint8Array.of(...pair(r, s), 0)],
    ['a zero in front', (r, s) => Uint8Array.of(0, ...pair(r, s))],
    ['r + n', (r, s) => pair(r + N, s, 33)],
    ['s + n', (r, s) => pair(r, s + N, 33)],
    ['r and s + 2^256', (r, s) => pair(r + (1n << 256n), s + (1n << 256n), 33)],
    ['r + 2^256 cut to 32 bytes, s + n', (r, s) => pair(r, (s + N) & ((1n << 256n) - 1n))],
    ['-r', (r, s) => pair(N - r, s)],
    ['r and s exchanged', (r, s) => pair(s, r)],
    ['half of it', (r) => bytes(r, 32)],
    ['DER', (r, s) => Uint8Array.of(0x30, der(r).length + der(s).length, ...der(r), ...der(s))],
    ['its own base64url, with padding', (r, s) => `${encodeBase64urlNoPadding(pair(r, s))}==`],
    [
      'its own base64url, with a bit behind the last byte',
      (r, s) => encodeBase64urlNoPadding(pair(r, s)).replace(/.$/, (last) => String.fromCharCode(last.charCodeAt(0) + 1)),
    ],
    ['standard base64 with padding', (r, s) => btoa(String.fromCharCode(...pair(r, s)))],
    ...[0n, 1n, N - 1n, N].flatMap((r) =>
      [0n, 1n, N - 1n, N].map((s): [string, () => Uint8Array] => [`r ${r}, s ${s}`, () => pair(r, s)]),
    ),
  ])('a signature of good claims, altered as Wycheproof alters them: %s', async (about, alter) => {
    await publish([shown(es256 as Group<Key>)])
    const [head, body, signature = ''] = (await ownToken()).split('.')
    const raw = new Uint8Array(decodeBase64urlIgnorePadding(signature))
    const altered = alter(number(raw.slice(0, 32)), number(raw.slice(32)))
    const words = typeof altered === 'string' ? altered : encodeBase64urlNoPadding(altered)
    expectRefused(await bearing(`${head}.${body}.${words}`), about)
    ran.altered++
  })
})

/** A token that the tenant would have signed, with Wycheproof's key. */
const ownToken = (kid = 'kid-ec-sign') => forge(realm, bo, { key: es256?.private as JWK, header: { kid } })

describe.skipIf(!keySets)(`JSON Web Keys of Wycheproof${keySets ? '' : ` (${MISSING})`}`, () => {
  const cases = (keySets?.testGroups ?? []).flatMap((group) =>
    group.tests.map((test): [string, Group<{ keys: Key[] }>, Case] => [
      `${test.tcId} ${group.comment}, ${test.comment}`,
      group,
      test,
    ]),
  )

  it.each(cases)('%s: lets nobody in, and breaks nothing', async (about, group, test) => {
    const { keys } = shown(group)
    const kids = keys.map(({ kid }) => kid)
    ran.jwk++
    if (new Set(kids).size < kids.length) {
      await expect(publish(keys)).rejects.toThrow()
      await publish(keys.slice(0, 1))
    } else await publish(keys)
    expectRefused(await bearing(test.jws), about)
    expect((await bearing(await forge(realm, bo))).status, 'the own key still counts').toBe(200)
    const { text } = await knock('http://vectors.freehold.test/.well-known/jwks.json')
    expect(text).not.toMatch(/"(k|d|p|q|dp|dq|qi)":/)
  })

  it.each(cases)('%s: good claims under its key are refused too', async (about, group, test) => {
    const secrets = group.private?.keys ?? []
    const fresh = shown(group).keys.map((key, i) => ({ ...key, kid: `jwk-${test.tcId}-${i}` }))
    await publish(fresh)
    for (const [i, key] of fresh.entries()) {
      const good = key.kty === 'EC' && key.alg === 'ES256' && key.crv === 'P-256' && key.use === 'sig'
      const token = await tokenUnder({ ...secrets[i] }, key.kid)
      if (!token) continue
      const answer = await bearing(token)
      // The one sound key of a mixed set is a key like ours; all others are none.
      if (good && test.comment === 'rejectsValid') expect(answer.status).toBe(200)
      else expectRefused(answer, about)
    }
  })

  /** Good claims, signed with what the key holds, whatever it says of itself; null when it can sign nothing here. */
  async function tokenUnder(secret: Key, kid: string): Promise<string | null> {
    if (secret.crv || secret.kty === 'EC') return ownToken(kid)
    const alg = secret.kty === 'RSA' ? 'RS256' : /^HS/.test(secret.alg ?? '') ? (secret.alg ?? '') : 'HS256'
    const now = Math.floor(Date.now() / 1000)
    const claims = { iss: realm.url, aud: realm.url, tid: realm.id, uid: bo.sub, iat: now, exp: now + 900, ...bo }
    const { use: _, key_ops: __, ...plain } = secret
    return importJWK({ ...plain, alg }, alg)
      .then((key) => new SignJWT(claims).setProtectedHeader({ alg, typ: 'at+jwt', kid }).sign(key))
      .catch(() => null)
  }
})
