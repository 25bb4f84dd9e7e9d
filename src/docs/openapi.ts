import type { OpenAPIHono } from '@hono/zod-openapi'
import type { AppEnv } from '../http/app-env.ts'

type Operation = { operationId?: string; tags?: string[]; summary?: string }

const DESCRIPTIONS: Record<string, string> = {
  platform: 'On the base domain, for operators.',
  tenant: "On the tenant's host, or on the base domain with X-Tenant.",
  discovery: "What others need to verify a tenant's tokens.",
}

const camel = (words: string[]) => words.map((w, i) => (i === 0 ? w : w.charAt(0).toUpperCase() + w.slice(1))).join('')

/** The document of all rooms: OpenAPI 3.1, each operation named after its method and path and filed under its plane and room. */
export function openApi(app: OpenAPIHono<AppEnv>, url: string) {
  const document = app.getOpenAPI31Document({
    openapi: '3.1.0',
    info: {
      title: 'Freehold',
      version: '0.1.0',
      description:
        'Identity and access for many tenants, each with a Postgres of its own. Errors are RFC 9457 problems, in English or Spanish by Accept-Language.',
      license: { name: 'MIT', url: 'https://opensource.org/license/mit' },
    },
    servers: [{ url }],
  })
  const tags = new Set<string>()
  for (const [path, methods] of Object.entries(document.paths ?? {})) {
    const words = path.split(/[^A-Za-z0-9]+/).filter((word) => word && word !== 'v1')
    const tag =
      words[0] === 'api' || words[0] === 'platform' ? `${words[0] === 'api' ? 'tenant' : 'platform'}: ${words[1]}` : 'discovery'
    tags.add(tag)
    for (const [method, operation] of Object.entries(methods as Record<string, Operation>)) {
      operation.operationId = camel([method, ...words])
      operation.tags = [tag]
    }
  }
  return { ...document, tags: [...tags].map((name) => ({ name, description: DESCRIPTIONS[name.split(':')[0] ?? ''] ?? '' })) }
}

/** Describes the credentials that routes take. Once for an app: what is registered stays. */
export function describeCredentials({ openAPIRegistry: registry }: OpenAPIHono<AppEnv>): void {
  registry.registerComponent('securitySchemes', 'bearer', {
    type: 'http',
    scheme: 'bearer',
    bearerFormat: 'JWT',
    description: 'An access token; where a key is taken, the key does as well.',
  })
  registry.registerComponent('securitySchemes', 'cookie', {
    type: 'apiKey',
    in: 'cookie',
    name: '__Host-fh_a_{account}',
    description:
      'Of a login with `cookie: true`, from pages of the same host. Where several accounts are logged in, X-Account says which.',
  })
  registry.registerComponent('securitySchemes', 'api_key', {
    type: 'apiKey',
    in: 'header',
    name: 'X-API-Key',
    description: 'A key, `fh_...`. Not beside Authorization.',
  })
}
