/**
 * Threat: a deploy takes minutes and a run of migrations hours; meanwhile tenants have the schema of the release before. Every route of
 * the tenant plane is asked, on a database of that schema: it answers as it does, refuses in words of ours, or says that the tenant is
 * being upgraded. Nothing fails.
 */
import { beforeAll, describe, expect, it } from 'vitest'
import { ADMIN, call } from '../support/people.ts'
import { plantSession } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

type Schema = {
  $ref?: string
  type?: string | string[]
  properties?: Record<string, Schema>
  required?: string[]
  enum?: unknown[]
  format?: string
  items?: Schema
  anyOf?: Schema[]
  oneOf?: Schema[]
  minLength?: number
}
type Operation = {
  requestBody?: { content: Record<string, { schema: Schema }> }
  parameters?: { name: string; in: string; required?: boolean; schema: Schema }[]
}
type Document = { paths: Record<string, Record<string, Operation>>; components: { schemas: Record<string, Schema> } }

const NOBODY = '0d9c1a52-7c1e-4b39-9d0d-3c8f3f0b8a11'
let token: string
let refresh_token: string
const document: Document = (await call('', '/openapi.json')).body

/** A value that a schema takes, as far as it can be told from it. */
function sample(schema: Schema): unknown {
  const known = schema.$ref ? document.components.schemas[schema.$ref.split('/').pop() ?? ''] : schema
  if (!known) return null
  if (known.enum) return known.enum[0]
  const [first] = known.anyOf ?? known.oneOf ?? []
  if (first) return sample(first)
  const type = Array.isArray(known.type) ? known.type[0] : known.type
  if (type === 'object')
    return Object.fromEntries((known.required ?? []).map((name) => [name, sample(known.properties?.[name] ?? {})]))
  if (type === 'array') return [sample(known.items ?? {})]
  if (type === 'boolean') return true
  if (type === 'integer' || type === 'number') return 20
  if (known.format === 'uuid') return NOBODY
  if (known.format === 'email') return 'nobody@acme.test'
  if (known.format === 'date-time') return '2030-01-01T00:00:00Z'
  return 'x'.repeat(Math.max(1, known.minLength ?? 1))
}

const doors = Object.entries(document.paths)
  .filter(([path]) => /^\/(api\/v1|\.well-known)\//.test(path))
  .flatMap(([path, operations]) =>
    Object.entries(operations).map(([method, operation]) => ({ method: method.toUpperCase(), path, operation })),
  )
  // Last what ends the session that all others use.
  .sort((a, b) => Number(/logout/.test(a.path)) - Number(/logout/.test(b.path)))

beforeAll(async () => {
  await copyTenant('behind-matrix', { is_behind: true })
  const planted = await plantSession('behind-matrix')
  token = planted.access_token
  refresh_token = planted.refresh_token
})

describe('on the schema of the release before', () => {
  it.each(doors.map((door) => [`${door.method} ${door.path}`, door] as const))(
    '%s does not fail',
    async (_, { method, path, operation }) => {
      const content = operation.requestBody?.content['application/json']
      const query = (operation.parameters ?? []).filter((p) => p.in === 'query' && p.required)
      const said = query.map((p) => `${p.name}=${encodeURIComponent(String(sample(p.schema)))}`).join('&')
      const at = `${path.replaceAll(/\{\w+\}/g, NOBODY)}${said ? `?${said}` : ''}`
      const body = /refresh/.test(path) ? { refresh_token } : /\/login$/.test(path) ? ADMIN : content && sample(content.schema)
      const answer = await call('behind-matrix', at, { method, token, ...(body === undefined ? {} : { body }) })
      if (answer.status === 503) expect(answer.body.code).toBe('tenant_upgrading')
      expect(answer.status, JSON.stringify(answer.body)).not.toBe(500)
    },
  )

  it('most of them answer', () => expect(doors.length).toBeGreaterThan(80))
})
