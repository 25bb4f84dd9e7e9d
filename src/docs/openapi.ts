import type { OpenAPIHono } from '@hono/zod-openapi'
import type { AppEnv } from '../http/app-env.ts'

type Operation = { operationId?: string; tags?: string[]; summary?: string }

const DESCRIPTIONS: Record<string, string> = {
  platform: 'On the base domain, for operators.',
  tenant: "On the tenant's host, or on the base domain with X-Tenant.",
  discovery: 'Public keys and metadata to verify the tokens of a tenant.',
}

const camel = (words: string[]) => words.map((w, i) => (i === 0 ? w : w.charAt(0).toUpperCase() + w.slice(1))).join('')

/**
 * The OpenAPI 3.1 document of all rooms: each operation is named after its method and path, and tagged with its plane and room.
 */
function openApi(app: OpenAPIHono<AppEnv>, url: string) {
  const document = app.getOpenAPI31Document({
    openapi: '3.1.0',
    info: {
      title: 'Freehold',
      version: '0.1.0',
      description:
        'Identity and access for many tenants, each with a Postgres of its own. Errors are RFC 9457 problems, in English or Spanish by Accept-Language. A user, and an API key, makes 600 requests a minute; what is beyond a limit is a 429 with Retry-After.',
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

let made: { url: string; text: string } | undefined

/** The document as JSON, made once per isolate: it takes 50 ms of CPU, and whoever asks is anonymous. */
export function openApiText(app: OpenAPIHono<AppEnv>, url: string): string {
  if (made?.url !== url) made = { url, text: JSON.stringify(openApi(app, url)) }
  return made.text
}

/** Registers the security schemes. Once per app: registrations stay. */
export function describeCredentials({ openAPIRegistry: registry }: OpenAPIHono<AppEnv>): void {
  registry.registerComponent('securitySchemes', 'bearer', {
    type: 'http',
    scheme: 'bearer',
    bearerFormat: 'JWT',
    description: 'An access token, or an API key where the operation accepts one.',
  })
  registry.registerComponent('securitySchemes', 'cookie', {
    type: 'apiKey',
    in: 'cookie',
    name: '__Host-fh_a_{account}',
    description:
      'Set by a login with `cookie: true`, for pages of the same host. If several accounts are logged in, X-Account selects one.',
  })
  registry.registerComponent('securitySchemes', 'api_key', {
    type: 'apiKey',
    in: 'header',
    name: 'X-API-Key',
    description: 'An API key, `fh_...`. Not together with Authorization.',
  })
}
