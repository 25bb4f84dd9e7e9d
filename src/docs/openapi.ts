/**
 * The OpenAPI 3.1 document of all rooms. What a route says of itself is here as it is; this adds what only the whole knows: names that
 * are unique on both planes, tags, and components in place of what many operations say alike. It is made when the Worker is built
 * (scripts/bundle/document.ts); the Worker reads it as an asset and adds the hosts (served.ts).
 */
import { OpenAPIHono } from '@hono/zod-openapi'
import type { AppEnv } from '../http/app-env.ts'
import { asked } from '../http/declared.ts'
import type { Code } from '../kernel/problem.ts'
import { BASE } from './assets.ts'
import { exampleOf, nameOf, problemExample, type Schema, type Schemas } from './examples.ts'
import { BODIES, FIELDS, ID, PARAMETERS } from './fields.ts'
import { subjectOf, tagsOf } from './tags.ts'
import { TEXTS } from './texts.ts'

type Parameter = { name: string; in: string; required?: boolean; description?: string; schema?: Schema; example?: unknown }
type Content = Record<string, { schema: Schema; examples?: Record<string, object> }>
type Answer = { description: string; headers?: Record<string, object>; content?: Content }
type Operation = {
  operationId: string
  summary: string
  description?: string
  tags?: string[]
  servers?: object[]
  parameters?: (Parameter | { $ref: string })[]
  requestBody?: { content: Content }
  responses: Record<string, Answer | { $ref: string }>
  'x-permission'?: string
  'x-credential'?: string
  'x-fresh-minutes'?: number
  'x-aal'?: number
  'x-aal-if-any'?: boolean
  'x-round-trips': number
}
type Components = Record<'parameters' | 'headers' | 'responses' | 'examples', Record<string, object>>

const PLATFORM = '/platform/v1/'

const upper = (name: string) => `${name.charAt(0).toUpperCase()}${name.slice(1)}`

/** A room that both planes have gives each a function of its own: `listUsers` and `listOperators`, `login` and `platformLogin`. */
function nameOn(path: string, name: string, others: Set<string>): string {
  if (!path.startsWith(PLATFORM) || !others.has(name)) return name
  return path.startsWith(`${PLATFORM}operators`) ? name.replace('User', 'Operator') : `platform${upper(name)}`
}

/** The document of the base domain, or that of the host of a tenant, without the platform. Its hosts are still to be filled in. */
export function openApi(app: OpenAPIHono<AppEnv>, of_tenant: boolean) {
  const routes = app.openAPIRegistry.definitions.flatMap((one) => (one.type === 'route' ? [one.route] : []))
  const tenants = routes.filter(({ path }) => !path.startsWith(PLATFORM))
  const of_tenants = new Set(tenants.map(({ operationId }) => String(operationId)))
  const printed = new OpenAPIHono()
  describeCredentials(printed)
  for (const one of of_tenant ? tenants : routes) printed.openAPIRegistry.registerPath(one)
  const document = printed.getOpenAPI31Document({
    openapi: '3.1.0',
    info: {
      title: 'Freehold',
      version: '0.1.0',
      description:
        'Identity and access for many tenants, each with a Postgres of its own. Errors are RFC 9457 problems, in English or Spanish by Accept-Language. A user, and an API key, makes 600 requests a minute; what is beyond a limit is a 429 with Retry-After.',
      contact: { name: 'Freehold', url: `${BASE}/docs` },
      license: { name: 'MIT', url: 'https://opensource.org/license/mit' },
    },
  })
  const components: Components = { parameters: {}, headers: {}, responses: {}, examples: {} }
  const schemas = (document.components?.schemas ?? {}) as Schemas
  for (const schema of Object.values(schemas)) describeFields(schema)
  const operations = Object.entries(document.paths ?? {}).flatMap(([path, methods]) =>
    Object.values(methods as Record<string, Operation>).map((operation) => ({ path, operation })),
  )
  const tags = new Set<string>()
  for (const { path, operation } of operations) {
    const on_platform = path.startsWith(PLATFORM)
    const tag = subjectOf(path)
    tags.add(tag)
    operation.tags = [tag]
    operation.description = `${TEXTS[operation.operationId] ?? ''} ${costOf(operation)}`
    addExamples(operation, { schemas, components })
    operation.operationId = nameOn(path, operation.operationId, of_tenants)
    if (on_platform) operation.servers = [{ url: BASE }]
    else operation.parameters = [...(operation.parameters ?? []), asked('X-Tenant')]
    shareParts(operation, components)
  }
  return {
    ...document,
    components: { ...document.components, ...components },
    tags: tagsOf(tags),
    servers: '',
  }
}

/** What it takes to be let in, and what it costs. */
function costOf(operation: Operation): string {
  const { 'x-permission': permission, 'x-credential': credential, 'x-round-trips': trips } = operation
  const { 'x-fresh-minutes': minutes, 'x-aal': factors, 'x-aal-if-any': if_any } = operation
  const holder = credential === 'session' ? 'a session; an API key is refused' : 'a session or an API key'
  const needs =
    permission === undefined
      ? 'no credential'
      : permission === 'any'
        ? `no permission, and ${holder}`
        : `\`${permission}\`, and ${holder}`
  const proofs = [
    minutes && `a login of the last ${minutes} minutes`,
    factors && `${factors} factors${if_any ? ' where its user has set up a second one' : ''}`,
  ]
    .filter(Boolean)
    .join(' by ')
  const step_up = proofs && ` Of a session it asks ${proofs}, else the answer is 401 \`step_up_required\`.`
  return `Needs ${needs}.${step_up} Costs ${trips === 1 ? '1 round trip' : `${trips} round trips`} to the database.`
}

/**
 * Fields that say nothing of themselves are described by what their name means everywhere. Defaults are in words: for a field with
 * `default` generators make types that require it, also where it is sent.
 */
function describeFields(schema: Schema): void {
  for (const part of [schema.items, ...(schema.allOf ?? []), ...(schema.oneOf ?? [])]) if (part) describeFields(part)
  for (const [name, field] of Object.entries(schema.properties ?? {})) {
    describeFields(field)
    if (FIELDS[name] && !field.$ref) field.description ??= FIELDS[name]
    if (field.default === undefined) continue
    if (field.default !== null)
      field.description = [field.description, `Default: \`${JSON.stringify(field.default)}\``].filter(Boolean).join('. ')
    delete field.default
  }
}

/** The id of a part of a resource: `license_id`. */
const idOf = (name: string) => `The id of the ${name.replace('_id', '').replace('_', ' ')}.`

/** Gives each body, answer, problem and parameter of a path its example. */
function addExamples(operation: Operation, { schemas, components }: { schemas: Schemas; components: Components }) {
  const example = (name: string, make: () => unknown) => {
    components.examples[name] ??= { value: make() }
    return { $ref: `#/components/examples/${name}` }
  }
  for (const one of operation.parameters ?? []) {
    if (!('in' in one)) continue
    one.description ??= PARAMETERS[one.name] ?? (one.in === 'query' ? `Only those with this \`${one.name}\`.` : idOf(one.name))
    if (one.in === 'path' || one.required)
      one.example =
        one.schema?.example ??
        one.schema?.enum?.[0] ??
        (one.schema?.format === 'uuid' ? ID : one.name === 'key' ? 'gold' : 'document:read')
  }
  const body = Object.values(operation.requestBody?.content ?? {})[0]
  const { operationId } = operation
  if (body) body.examples = { example: example(operationId, () => BODIES[operationId] ?? exampleOf(body.schema, schemas)) }
  for (const answer of Object.values(operation.responses))
    for (const [type, media] of Object.entries('content' in answer ? (answer.content ?? {}) : {})) {
      if (type === 'application/json')
        media.examples = {
          example: example(nameOf(media.schema) || `${operationId}Answer`, () => exampleOf(media.schema, schemas)),
        }
      if (type === 'application/problem+json' && 'description' in answer)
        media.examples = Object.fromEntries(
          answer.description
            .split(', ')
            .map((code) => [code, example(`problem.${code}`, () => problemExample(code as Code, BASE))]),
        )
    }
}

/** Moves headers and problems to the components, which have each of them once. */
function shareParts(operation: Operation, components: Components): void {
  const share = (kind: keyof Components, name: string, part: object) => {
    components[kind][name] ??= part
    return { $ref: `#/components/${kind}/${name}` }
  }
  operation.parameters = (operation.parameters ?? []).map((parameter) =>
    'in' in parameter && parameter.in === 'header' ? share('parameters', parameter.name, parameter) : parameter,
  )
  for (const [status, answer] of Object.entries(operation.responses)) {
    if (!('description' in answer)) continue
    const headers = Object.entries(answer.headers ?? {}).map(([name, header]) => [name, share('headers', name, header)])
    const shared = { ...answer, headers: Object.fromEntries(headers) }
    operation.responses[status] = Number(status) < 400 ? shared : share('responses', problemsOf(status, answer), shared)
  }
}

/** The name of the answer with these codes: `E404.not_found.tenant_not_found`; of errors of OAuth, `OAuth400.invalid_grant`. */
const problemsOf = (status: string, { description, content = {} }: Answer) =>
  `${'application/problem+json' in content ? 'E' : 'OAuth'}${status}.${description.split(', ').sort().join('.')}`

function describeCredentials({ openAPIRegistry: registry }: OpenAPIHono): void {
  registry.registerComponent('securitySchemes', 'bearer', {
    type: 'http',
    scheme: 'bearer',
    bearerFormat: 'JWT',
    description: 'An access token, or an API key where the operation accepts one.',
  })
  registry.registerComponent('securitySchemes', 'cookie', {
    type: 'apiKey',
    in: 'cookie',
    name: '__Host-fh_a',
    description:
      'Set by a login with `cookie: true`, for pages of the same host. Its name goes on with `_` and the id of the user. If several accounts are logged in, X-Account selects one.',
  })
  registry.registerComponent('securitySchemes', 'api_key', {
    type: 'apiKey',
    in: 'header',
    name: 'X-API-Key',
    description: 'An API key, `fh_...`. Not together with Authorization.',
  })
}
