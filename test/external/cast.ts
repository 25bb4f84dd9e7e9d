/** A provider that a test makes up: its documents, its keys, and tokens as it would give them, or would not. */
import { exportJWK, generateKeyPair, type JWK, type JWTPayload, SignJWT } from 'jose'
import { expect, inject } from 'vitest'
import { newAddress } from '../support/limiters.ts'
import { call } from '../support/people.ts'
import type { Asked, Planted } from '../support/planting.ts'

const { url } = inject('providers')
let made = 0

export const plant = async (answer: Planted) =>
  expect((await fetch(`${url}/plant`, { method: 'PUT', body: JSON.stringify(answer) })).status).toBe(200)
export const askedUnder = async (path: string): Promise<Asked[]> => (await fetch(`${url}/asked?under=${path}`)).json()

export type Made = Awaited<ReturnType<typeof makeProvider>>
type Described = {
  /** Members of its metadata, in place of its own or beside them. */
  metadata?: Record<string, unknown>
  alg?: string
  /** The end of its issuer, after a path of its own. */
  end?: string
}

/** A provider with a key; its issuer is of this machine. */
export async function makeProvider({ metadata = {}, alg = 'RS256', end = '' }: Described = {}) {
  const path = `/p${made++}-${crypto.randomUUID().slice(0, 8)}`
  const issuer = `${url}${path}${end}`
  const keys: { kid: string; privateKey: CryptoKey; jwk: JWK; alg: string }[] = []
  const publish = () => plant({ path: `${path}/jwks`, body: JSON.stringify({ keys: keys.map(({ jwk }) => jwk) }) })
  /** Another key, which is published at once. */
  const rotate = async (more: Record<string, unknown> = {}) => {
    const pair = await generateKeyPair(alg, { extractable: true })
    const kid = `k${keys.length}-${path}`
    keys.push({
      kid,
      privateKey: pair.privateKey,
      jwk: { ...(await exportJWK(pair.publicKey)), kid, alg, use: 'sig', ...more },
      alg,
    })
    await publish()
  }
  const describe = (more: Record<string, unknown> = {}) =>
    plant({
      path: `${path}${end}/.well-known/openid-configuration`,
      body: JSON.stringify({
        issuer,
        authorization_endpoint: `${url}${path}/authorize`,
        token_endpoint: `${url}${path}/token`,
        jwks_uri: `${url}${path}/jwks`,
        ...metadata,
        ...more,
      }),
    })
  await rotate()
  await describe()

  /** A token of this provider for `client`, but for what is said. */
  async function token(
    claims: JWTPayload & Record<string, unknown> = {},
    { header = {}, without = [] }: { header?: Record<string, unknown>; without?: string[] } = {},
  ): Promise<string> {
    const key = keys.at(-1)
    if (!key) throw new Error('There is no key.')
    const now = Math.floor(Date.now() / 1000)
    const payload: JWTPayload = { iss: issuer, aud: 'client', sub: 'ann', iat: now, exp: now + 600, nonce: NONCE, ...claims }
    for (const name of without) delete payload[name]
    return new SignJWT(payload).setProtectedHeader({ alg: key.alg, kid: key.kid, ...header }).sign(key.privateKey)
  }
  return { path, issuer, keys, rotate, publish, describe, token }
}

export const NONCE = 'a-nonce-of-a-login'

/** Adds a provider to a tenant; gives its settings. */
export async function addProvider(at: string, token: string, issuer: string, more: Record<string, unknown> = {}) {
  const name = `at-${crypto.randomUUID().slice(0, 8)}`
  const body = { name, type: 'oidc', issuer, client_id: 'client', label: 'Elsewhere', ...more }
  const answer = await call(at, '/api/v1/settings/providers', { token, body })
  expect(answer.status, JSON.stringify(answer.body)).toBe(201)
  return answer.body as { id: string; name: string } & Record<string, unknown>
}
export const patchProvider = (at: string, token: string, id: string, body: object) =>
  call(at, `/api/v1/settings/providers/${id}`, { token, method: 'PATCH', body })

/** Logs in with an ID token, each time from another network: the audit counts failures of one without an entry for each. */
export const enter = (at: string, name: string, id_token: string, more: Record<string, unknown> = {}) =>
  call(at, `/api/v1/auth/external/${name}`, {
    body: { id_token, nonce: NONCE, ...more },
    headers: { 'CF-Connecting-IP': newAddress() },
  })
