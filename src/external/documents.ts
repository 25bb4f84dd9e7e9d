/**
 * The documents of a provider: its metadata (OpenID Connect Discovery 1.0) and its keys (RFC 7517). Threat: each login asks the provider
 * again, or tokens with made-up keys make every one do so; somebody who can write to KV puts keys of their own there, and logs in as whom
 * they like; a provider names the issuer of another. So an isolate asks for them once in ten minutes, for an unknown key once a minute,
 * one request at a time; what KV has is encrypted for its issuer; and the issuer must be the one that was asked. Of keys only public ones
 * are taken, of which no symmetric one can be made.
 */
import { z } from '@hono/zod-openapi'
import type { JWK } from 'jose'
import { share, sharedByRealm } from '../http/shared.ts'
import type { Config } from '../kernel/config.ts'
import type { Ctx } from '../kernel/context.ts'
import { decrypt, encrypt } from '../kernel/keyring.ts'
import { log } from '../kernel/log.ts'
import { Problem } from '../kernel/problem.ts'
import { tokenHash } from '../kernel/token.ts'
import { fetchedJson, ProviderFailure } from './fetched.ts'

const FRESH_MS = 10 * 60_000
/** For an unknown key they are asked for again, but not after a shorter time than this. */
const UNKNOWN_MS = 60_000
/** After a failure nobody asks for so long. */
const FAILED_MS = 5_000
const USABLE_MS = 60 * 60_000
const KV_SECONDS = 3_600
const MOST_PROVIDERS = 100
const MOST_KEYS = 50

const address = z.string().max(2000)
const Metadata = z.object({
  issuer: address,
  authorization_endpoint: address.optional(),
  token_endpoint: address.optional(),
  jwks_uri: address,
  token_endpoint_auth_methods_supported: z.array(z.string()).max(50).optional(),
  authorization_response_iss_parameter_supported: z.boolean().optional(),
  claims_parameter_supported: z.boolean().optional(),
})
const Key = z.object({
  kty: z.enum(['RSA', 'EC', 'OKP']),
  kid: z.string().max(255).optional(),
  use: z.string().optional(),
  key_ops: z.array(z.string()).optional(),
  alg: z.string().optional(),
  crv: z.string().optional(),
  x: z.string().optional(),
  y: z.string().optional(),
  n: z.string().optional(),
  e: z.string().optional(),
  /** Entra says whose each key is. */
  issuer: z.string().optional(),
})

export type Documents = z.infer<typeof Metadata> & { keys: (JWK & { issuer?: string })[]; read_at: number }
/** Where documents are kept for other isolates. */
export type Kept = Pick<KVNamespace, 'get' | 'put'>

const memory = sharedByRealm<Documents | null>(MOST_PROVIDERS, null)

/** Who answers for what is asked of a provider, and where it is kept. */
export type Asker = Pick<Ctx, 'config' | 'later'> & { kept: Kept }
export type Issuer = { type: string; issuer: string }

/**
 * The documents of a provider, at most ten minutes old here, and twenty after another isolate read them; where they lack the key `kid`, at
 * most a minute. No round trip to a database. Fails with provider_unavailable.
 */
export async function documentsOf(asker: Asker, provider: Issuer, kid?: string): Promise<Documents> {
  const known = memory.of(`${provider.type} ${provider.issuer}`)
  const lacks = (documents: Documents | null) => kid !== undefined && !documents?.keys.some((key) => key.kid === kid)
  const freshness = known.failure !== null ? FAILED_MS : FRESH_MS
  let documents = await share(known, freshness, () => keptOrFetched(asker, provider), asker.later)
  if (known.failure === null && lacks(documents))
    documents = await share(known, UNKNOWN_MS, () => fetchedNow(asker, provider), asker.later)
  // Keys that were read go on while the provider is away, and when somebody has it asked for keys that nobody has.
  if (documents && Date.now() - documents.read_at < USABLE_MS) return documents
  log('provider unavailable', { issuer: provider.issuer, detail: known.failure instanceof Error ? known.failure.message : '' })
  throw new Problem('provider_unavailable')
}

const keyOf = async (issuer: string) => `provider:${(await tokenHash(issuer)).slice(2)}`
const sealedFor = (issuer: string) => `documents:${issuer}`

async function keptOrFetched(asker: Asker, provider: Issuer): Promise<Documents> {
  const { config, kept } = asker
  const sealed = await kept.get(await keyOf(provider.issuer)).catch(() => null)
  const text = sealed && (await decrypt(config.ENCRYPTION_KEYS, 'provider', sealedFor(provider.issuer), sealed).catch(() => null))
  const found = text ? (JSON.parse(text) as Documents) : null
  return found && Date.now() - found.read_at < FRESH_MS ? found : fetchedNow(asker, provider)
}

async function fetchedNow({ config, kept, later }: Asker, { type, issuer }: Issuer): Promise<Documents> {
  const metadata = Metadata.safeParse(await fetchedJson(config, `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`))
  if (!metadata.success) throw new ProviderFailure('its metadata is not that of a provider')
  if (!isIssuer(type, issuer, metadata.data.issuer)) throw new ProviderFailure(`its metadata is of ${metadata.data.issuer}`)
  const keys = await keysAt(config, metadata.data.jwks_uri)
  const documents = { ...metadata.data, keys, read_at: Date.now() }
  const sealed = await encrypt(config.ENCRYPTION_KEYS, 'provider', sealedFor(issuer), JSON.stringify(documents))
  later(kept.put(await keyOf(issuer), sealed, { expirationTtl: KV_SECONDS }).catch(() => undefined))
  return documents
}

async function keysAt(config: Config, jwks_uri: string): Promise<Documents['keys']> {
  const set = z.object({ keys: z.array(z.unknown()).max(MOST_KEYS) }).safeParse(await fetchedJson(config, jwks_uri))
  if (!set.success) throw new ProviderFailure('its keys are not a key set')
  // What is no public key that we know is passed over (RFC 7517 section 5).
  return set.data.keys.flatMap((key) => {
    const known = Key.safeParse(key)
    return known.success && known.data.use !== 'enc' ? [known.data as Documents['keys'][number]] : []
  })
}

/** In the issuer of Entra's metadata for many organizations. */
export const TENANT = '{tenantid}'

/** Whether metadata names the issuer that was asked; those of Entra for many organizations name one with a place for each. */
const isIssuer = (type: string, issuer: string, said: string) =>
  said === issuer || (type === 'entra' && said === issuer.replace(/\/(common|organizations|consumers)\//, `/${TENANT}/`))
