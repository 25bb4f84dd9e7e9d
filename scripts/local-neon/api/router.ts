import { randomUUID, timingSafeEqual } from 'node:crypto'
import { type Answer, type Asked, TooLarge } from '../answer.ts'
import type { Limits } from '../limits.ts'
import type { Context } from '../work/context.ts'
import { failing } from '../work/failing.ts'
import { Locked, type Work } from '../work/operations.ts'
import { ApiError } from './error.ts'

export interface ApiContext extends Context {
  work: Work
  limits: Limits
}

export interface Call extends ApiContext {
  /** The parts of the path that the route names, decoded. */
  params: Record<string, string>
  query: URLSearchParams
  body: Record<string, unknown>
  /** True for the personal key: it belongs to no organization. */
  isPersonal: boolean
}

export type Handle = (call: Call) => Promise<[status: number, body?: unknown]> | [status: number, body?: unknown]

/** `POST /projects/:project/branches` and what answers it. */
export type Routes = Record<string, Handle>

const MAX_BODY_BYTES = 1_048_576

/** The management API: authentication, routing, and the form of failures. */
export function router(routes: Routes, context: ApiContext, apiKey: string) {
  const table = Object.entries(routes).map(([route, handle]) => {
    const [method = '', path = ''] = route.split(' ')
    return { method, pattern: new RegExp(`^${path.replaceAll(/:(\w+)/g, '(?<$1>[^/]+)')}$`), handle }
  })

  async function find(asked: Asked, path: string): Promise<[number, unknown?]> {
    const isPersonal = allowed(asked.headers.authorization, personalKeyOf(apiKey))
    if (!isPersonal && !allowed(asked.headers.authorization, apiKey))
      throw new ApiError(401, 'authentication failed: the API key is missing or not valid')
    const found = table.find(({ method, pattern }) => method === asked.method && pattern.test(path))
    if (!found) throw new ApiError(404, `this local Neon does not answer ${asked.method} ${path}`)
    const params = Object.entries(found.pattern.exec(path)?.groups ?? {}).map(([name, value]) => [name, decode(value)])
    const work = asked.fails ? failing(context.work, asked.fails.action) : context.work
    const { query } = asked
    return found.handle({ ...context, work, params: Object.fromEntries(params), query, body: await readBody(asked), isPersonal })
  }

  return async (asked: Asked, path: string): Promise<Answer> => {
    const given = asked.headers['x-request-id']
    const requestId = typeof given === 'string' && given ? given : randomUUID()
    const headers = { 'content-type': 'application/json', 'x-request-id': requestId }
    try {
      const [status, body] = await find(asked, path)
      return { status, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) }
    } catch (error) {
      const { status, code } = error instanceof ApiError ? error : { status: error instanceof Locked ? 423 : 500, code: '' }
      const message = error instanceof Error ? error.message : String(error)
      return { status, headers, body: JSON.stringify({ request_id: requestId, code, message }) }
    }
  }
}

/** The account's personal key, beside the organization's. */
export const personalKeyOf = (apiKey: string) => `${apiKey}personal`

/** A personal key names the organization in each request that lists or creates projects. */
export function requireOrganization({ isPersonal }: Call, org_id: string | null | undefined) {
  if (isPersonal && !org_id) throw new ApiError(400, 'org_id is required, you can find it on your organization settings page')
}

function allowed(authorization: string | undefined, apiKey: string) {
  const given = Buffer.from(authorization ?? '')
  const wanted = Buffer.from(`Bearer ${apiKey}`)
  return given.length === wanted.length && timingSafeEqual(given, wanted)
}

function decode(part: string) {
  try {
    return decodeURIComponent(part)
  } catch {
    throw new ApiError(400, `the path has a part that cannot be decoded: ${part}`)
  }
}

async function readBody(asked: Asked): Promise<Record<string, unknown>> {
  const text = await asked.body(MAX_BODY_BYTES).catch((error) => {
    throw error instanceof TooLarge ? new ApiError(413, 'the request is too large') : error
  })
  if (text.trim() === '') return {}
  let body: unknown
  try {
    body = JSON.parse(text)
  } catch {
    throw new ApiError(400, 'the body is not valid JSON')
  }
  if (typeof body !== 'object' || body === null || Array.isArray(body)) throw new ApiError(400, 'the body must be a JSON object')
  return body as Record<string, unknown>
}
