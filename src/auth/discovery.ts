import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import { EDGE_SECONDS, keptAtEdge } from '../http/edge-cache.ts'
import { room, route } from '../http/route.ts'

const Jwk = z.object({
  kty: z.string(),
  crv: z.string(),
  x: z.string(),
  y: z.string(),
  kid: z.string(),
  alg: z.string(),
  use: z.string(),
})
const Jwks = z.object({ keys: z.array(Jwk) }).openapi('Jwks')
const Metadata = z
  .object({
    issuer: z.url(),
    jwks_uri: z.url(),
    token_endpoint: z.url(),
    token_endpoint_auth_methods_supported: z.array(z.string()),
    introspection_endpoint: z.url(),
    introspection_endpoint_auth_methods_supported: z.array(z.string()),
    revocation_endpoint: z.url(),
    revocation_endpoint_auth_methods_supported: z.array(z.string()),
    userinfo_endpoint: z.url(),
    grant_types_supported: z.array(z.string()),
    response_types_supported: z.array(z.string()),
    subject_types_supported: z.array(z.string()),
    acr_values_supported: z.array(z.string()),
  })
  .openapi('AuthorizationServer')

/** For clients and for the caches on their way; the location of the Worker keeps what it asked the database as long. */
const CACHE = `public, max-age=${EDGE_SECONDS}`

/**
 * Public keys and metadata to verify the tokens of a tenant (RFC 7517, RFC 8414): the keys from the registry alone, the grants from the
 * tenant's settings (decisions 40 and 62).
 */
type Grants = { password_grant: boolean }

export const discoveryRoutes = room()

/** The public keys of a realm: of a tenant, and of the platform, which signs certificates of erasures, too. */
export const keyRoutes = room()

keyRoutes.openapi(
  route({
    operationId: 'getJwks',
    method: 'get',
    path: '/jwks.json',
    summary: 'Get the public keys of the tenant, or of the platform',
    public: true,
    trips: 0,
    returns: { 200: Jwks },
  }),
  (c) => {
    c.header('Cache-Control', CACHE)
    const keys = c.var.realm.keys.map(({ kid, public: { kty = '', crv = '', x = '', y = '' } }) => ({
      kty,
      crv,
      x,
      y,
      kid,
      alg: 'ES256',
      use: 'sig',
    }))
    return c.json({ keys }, 200)
  },
)

const PLACES = [
  {
    operationId: 'getAuthorizationServer',
    path: '/oauth-authorization-server',
    summary: 'Get the metadata of the authorization server (RFC 8414)',
  },
  // There are no ID tokens and nothing to authorize at, so that it says no more than the other does.
  {
    operationId: 'getOpenIdConfiguration',
    path: '/openid-configuration',
    summary: 'Get the same metadata, where OpenID Connect clients look for it',
  },
]

for (const place of PLACES) {
  discoveryRoutes.openapi(route({ ...place, method: 'get', public: true, trips: 1, returns: { 200: Metadata } }), async (c) => {
    const { id, url } = c.var.realm
    const { password_grant } = await keptAtEdge(c, 'metadata', () => c.var.ctx.call<Grants>(sql`access.metadata(${id})`))
    c.header('Cache-Control', CACHE)
    return c.json(
      {
        issuer: url,
        jwks_uri: `${url}/.well-known/jwks.json`,
        token_endpoint: `${url}/oauth/token`,
        // No client has a secret.
        token_endpoint_auth_methods_supported: ['none'],
        introspection_endpoint: `${url}/oauth/introspect`,
        // A token or an API key, which may also be the secret in HTTP Basic.
        introspection_endpoint_auth_methods_supported: ['Bearer', 'client_secret_basic'],
        revocation_endpoint: `${url}/oauth/revoke`,
        revocation_endpoint_auth_methods_supported: ['none'],
        userinfo_endpoint: `${url}/oauth/userinfo`,
        // Never left out: that would stand for grants that are not here.
        grant_types_supported: password_grant ? ['password', 'refresh_token'] : ['refresh_token'],
        response_types_supported: [],
        subject_types_supported: ['public'],
        // What a route may ask for (RFC 9470 section 5), and tokens say: one factor, or two.
        acr_values_supported: ['aal1', 'aal2'],
      },
      200,
    )
  })
}
