/**
 * Logins from elsewhere in a browser: the authorization code flow (RFC 6749 section 4.1, with RFC 7636 and RFC 9207). Threat: a page
 * elsewhere ends the login of somebody else in this browser, or in the name of this one; a code that was seen is exchanged by somebody
 * else; the answer of one provider is taken for that of another. So state, nonce and verifier of a login are in a cookie of this browser
 * alone, encrypted for this tenant, for ten minutes; and `iss` is compared where the provider sends it.
 */
import { z } from '@hono/zod-openapi'
import * as oauth from 'oauth4webapi'
import type { Entered } from '../auth/auth.ts'
import type { Challenged } from '../auth/challenge.ts'
import type { Ctx } from '../kernel/context.ts'
import { decrypt, encrypt } from '../kernel/keyring.ts'
import { log } from '../kernel/log.ts'
import { Problem } from '../kernel/problem.ts'
import { secretOf } from '../providers/providers.ts'
import { faultOfUrl, isLocalProvider } from '../providers/urls.ts'
import { type Documents, documentsOf, type Kept } from './documents.ts'
import { type Device, finishExternalLogin, notAccepted, providerOf, verdictOf } from './external.ts'
import { fetched, ProviderFailure } from './fetched.ts'
import type { ProviderSettings } from './id-token.ts'

export const FLOW_SECONDS = 600

/** What is remembered of a login that was begun. */
const Begun = z.object({
  provider: z.string(),
  state: z.string(),
  nonce: z.string(),
  verifier: z.string(),
  next: z.string().nullable(),
  until: z.number(),
})
const FIELD = 'external_login'

/** Where the provider sends the browser back to. It is to be registered there. */
const redirectOf = ({ realm }: Ctx, name: string) => new URL(`/login/external/${name}/callback`, realm.url).href

/**
 * Begins a login: where to send the browser, and what it has to keep until it comes back. One round trip. Fails with not_found (no such
 * provider, or one without a login page), provider_unavailable.
 */
export async function beginFlow(ctx: Ctx, kept: Kept, name: string, next: string | null): Promise<{ url: string; keep: string }> {
  const provider = await providerOf(ctx, name)
  const documents = await documentsOf({ ...ctx, kept }, provider)
  const { authorization_endpoint, token_endpoint } = documents
  if (!authorization_endpoint || !token_endpoint) throw new Problem('not_found', 'There is no such provider.')
  const fault = faultOfUrl(ctx.config, authorization_endpoint)
  if (fault) throw unavailable(provider, new ProviderFailure(`a login page that ${fault}`))
  const begun: z.infer<typeof Begun> = {
    provider: name,
    state: oauth.generateRandomState(),
    nonce: oauth.generateRandomNonce(),
    verifier: oauth.generateRandomCodeVerifier(),
    next,
    until: Date.now() + FLOW_SECONDS * 1000,
  }
  const url = new URL(authorization_endpoint)
  const { claims } = provider
  const asked = {
    response_type: 'code',
    client_id: provider.client_id,
    redirect_uri: redirectOf(ctx, name),
    scope: 'openid email profile',
    state: begun.state,
    nonce: begun.nonce,
    code_challenge: await oauth.calculatePKCECodeChallenge(begun.verifier),
    code_challenge_method: 'S256',
    ...(documents.claims_parameter_supported && { claims: wantedClaims(claims) }),
  }
  for (const [key, value] of Object.entries(asked)) url.searchParams.set(key, value)
  return { url: url.href, keep: await encrypt(ctx.config.ENCRYPTION_KEYS, ctx.realm.id, FIELD, JSON.stringify(begun)) }
}

/** Asks for the claims in the ID token (Core 1.0, section 5.5): some providers else give them by `userinfo` alone, which nobody reads here. */
const wantedClaims = ({
  email = 'email',
  given_name = 'given_name',
  family_name = 'family_name',
  roles,
}: ProviderSettings['claims']) =>
  JSON.stringify({
    id_token: Object.fromEntries(
      [email, 'email_verified', given_name, family_name, ...(roles ? [roles] : [])].map((name) => [name, null]),
    ),
  })

/**
 * Ends a login with what the provider sent the browser back with, and what the browser kept of it. Two round trips, as `externalLogin`; it
 * fails as that does.
 */
export async function finishFlow(
  ctx: Ctx,
  kept: Kept,
  name: string,
  { url, keep, device }: { url: URL; keep: string | null; device: Device },
): Promise<{ entered: Entered | Challenged; next: string | null }> {
  const begun = await begunIn(ctx, name, keep)
  const provider = await providerOf(ctx, name)
  const documents = await documentsOf({ ...ctx, kept }, provider)
  const id_token = await exchanged(ctx, provider, documents, url, begun)
  const verdict = await verdictOf(ctx, kept, provider, { id_token, nonce: begun.nonce })
  return { entered: await finishExternalLogin(ctx, provider, verdict, device), next: begun.next }
}

async function begunIn(ctx: Ctx, name: string, keep: string | null): Promise<z.infer<typeof Begun>> {
  const text = keep && (await decrypt(ctx.config.ENCRYPTION_KEYS, ctx.realm.id, FIELD, keep).catch(() => null))
  const begun = text ? Begun.safeParse(JSON.parse(text)).data : undefined
  if (!begun || begun.provider !== name || begun.until <= Date.now()) throw notAccepted()
  return begun
}

/** Exchanges the code for an ID token. Fails with invalid_credentials, provider_unavailable. */
async function exchanged(
  ctx: Ctx,
  provider: ProviderSettings,
  documents: Documents,
  url: URL,
  { state, verifier }: z.infer<typeof Begun>,
): Promise<string> {
  const { client_id, client_secret_encrypted } = provider
  const { issuer, token_endpoint = '', authorization_response_iss_parameter_supported = false } = documents
  const server = { issuer, token_endpoint, authorization_response_iss_parameter_supported }
  const client = { client_id }
  try {
    const sent = oauth.validateAuthResponse(server, client, url, state)
    const secret =
      client_secret_encrypted &&
      (await decrypt(ctx.config.ENCRYPTION_KEYS, ctx.realm.id, secretOf(provider.id), client_secret_encrypted))
    const answer = await oauth.authorizationCodeGrantRequest(
      server,
      client,
      authenticating(documents, secret),
      sent,
      redirectOf(ctx, provider.name),
      verifier,
      {
        [oauth.customFetch]: (address: string, init: RequestInit) => fetched(ctx.config, address, init),
        [oauth.allowInsecureRequests]: isLocalProvider(ctx.config, token_endpoint),
      } as oauth.TokenEndpointRequestOptions,
    )
    if (answer.status >= 500 || answer.status === 429)
      throw new ProviderFailure(`the exchange of a code is answered ${answer.status}`)
    // What the token says is looked at in id-token.ts, as of one that an app sent.
    const tokens = z.object({ id_token: z.string().max(12_288) }).safeParse(answer.ok ? await answer.json() : null)
    if (!tokens.success) throw new Error(`the exchange of a code is answered ${answer.status}`)
    return tokens.data.id_token
  } catch (error) {
    if (error instanceof ProviderFailure) throw unavailable(provider, error)
    const why = error instanceof Error ? error.message : 'unknown'
    log('external login not ended', { tenant: ctx.realm.subdomain, provider: provider.name, why })
    throw notAccepted()
  }
}

/** How the client shows its secret; `client_secret_basic` is what a provider takes that says nothing (Discovery 1.0, section 3). */
function authenticating({ token_endpoint_auth_methods_supported: known }: Documents, secret: string | null): oauth.ClientAuth {
  if (!secret) return oauth.None()
  return known && !known.includes('client_secret_basic') ? oauth.ClientSecretPost(secret) : oauth.ClientSecretBasic(secret)
}

function unavailable({ name }: ProviderSettings, failure: ProviderFailure): Problem {
  log('provider unavailable', { provider: name, detail: failure.message })
  return new Problem('provider_unavailable')
}
