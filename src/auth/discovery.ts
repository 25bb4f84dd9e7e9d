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
const Discovery = z
  .object({
    issuer: z.url(),
    jwks_uri: z.url(),
    token_endpoint: z.url().optional(),
    token_endpoint_auth_methods_supported: z.array(z.string()).optional(),
    userinfo_endpoint: z.url(),
    grant_types_supported: z.array(z.string()),
    response_types_supported: z.array(z.string()),
    subject_types_supported: z.array(z.string()),
    id_token_signing_alg_values_supported: z.array(z.string()),
  })
  .openapi('OpenIdConfiguration')

/** For clients and for the caches on their way; the location of the Worker keeps what it asked the database as long. */
const CACHE = `public, max-age=${EDGE_SECONDS}`

/**
 * Public keys and metadata to verify the tokens of a tenant (RFC 7517, OpenID Connect Discovery 1.0): the keys from the registry
 * alone, the grants from the tenant's settings (decision 40).
 */
type Metadata = { password_grant: boolean }

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

discoveryRoutes.openapi(
  route({
    operationId: 'getOpenIdConfiguration',
    method: 'get',
    path: '/openid-configuration',
    summary: 'Get the OpenID Connect configuration',
    public: true,
    trips: 1,
    returns: { 200: Discovery },
  }),
  async (c) => {
    const { id, url } = c.var.realm
    const { password_grant } = await keptAtEdge(c, 'metadata', () => c.var.ctx.call<Metadata>(sql`access.metadata(${id})`))
    c.header('Cache-Control', CACHE)
    return c.json(
      {
        issuer: url,
        jwks_uri: `${url}/.well-known/jwks.json`,
        ...(password_grant && {
          token_endpoint: `${url}/api/v1/auth/login`,
          // The login form takes no client's secret.
          token_endpoint_auth_methods_supported: ['none'],
        }),
        userinfo_endpoint: `${url}/api/v1/auth/me`,
        // Never left out: that would stand for grants that are not here.
        grant_types_supported: password_grant ? ['password'] : [],
        response_types_supported: [],
        subject_types_supported: ['public'],
        id_token_signing_alg_values_supported: ['ES256'],
      },
      200,
    )
  },
)
