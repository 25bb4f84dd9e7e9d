/**
 * A client of Freehold's API, typed by its OpenAPI document. Runs where there is fetch: Node 20, Workers, browsers. Threat: credentials
 * that travel where they should not, a path parameter that makes another path. So no redirect is followed, and an API key and a session
 * are never sent together.
 */
import createFetchClient, { defaultPathSerializer } from 'openapi-fetch'
import type { paths } from './paths.ts'
import { ProblemError, problemOf } from './problem.ts'
import { sessionOf, type Tokens } from './session.ts'
import type { Client, Credentials, Options } from './types.ts'

export { AVATAR_COLOURS, AVATAR_TEXT, colourOf, initialsOf } from '../../../src/avatars/initials.ts'
export type { Code } from './codes.ts'
export type { paths } from './paths.ts'
export { type Issue, type ProblemCode, ProblemError } from './problem.ts'
export type { Kept, Tokens } from './session.ts'
export type { Answer, Client, Credentials, ListOf, Method, Options, PathOf } from './types.ts'

type Page = { data: { data: unknown[]; next_cursor: string | null } }
type Init = { params?: { query?: Record<string, unknown> }; signal?: AbortSignal }
type Call = (path: string, init?: Init) => Promise<unknown>
type Verb = 'GET' | 'PUT' | 'POST' | 'PATCH' | 'DELETE'

/** The path of a call. An empty parameter, `.` and `..` would name another path than the one that is meant. */
function pathOf(path: string, parameters: Record<string, unknown>): string {
  for (const [name, value] of Object.entries(parameters)) {
    if (!/^\.{0,2}$/.test(String(value ?? '-'))) continue
    const detail = `{${name}} in ${path} is ${JSON.stringify(value)}.`
    throw new ProblemError({ code: 'invalid_request', status: 0, title: 'This is no path parameter', detail })
  }
  return defaultPathSerializer(path, parameters)
}

/** Makes a client. It asks nothing until it is used. Fails with a TypeError for options that cannot be meant. */
export function createClient<Paths extends object = paths>(options: Options): Client<Paths> {
  const { url, tenant, plane = 'tenant', api_key, timeout_ms = 30_000, onTokens = () => undefined } = options
  if (api_key !== undefined && options.tokens) throw new TypeError('Give api_key or tokens, not both.')
  const base = new URL(url).href.replace(/\/+$/, '')
  const ask = options.fetch ?? ((request: Request) => fetch(request))
  const auth = plane === 'platform' ? '/platform/v1/auth' : '/api/v1/auth'

  /** Sends a request as it is. Fails with ProblemError unless the answer is a success of Freehold. */
  const send = async (request: Request): Promise<Response> => {
    const signal = timeout_ms ? AbortSignal.any([request.signal, AbortSignal.timeout(timeout_ms)]) : request.signal
    const response = await ask(new Request(request, { redirect: 'manual', signal })).catch((cause) => {
      if (request.signal.aborted) throw cause
      const detail = `${new URL(request.url).origin} does not answer.`
      throw new ProblemError({ code: 'unreachable', status: 0, title: 'There was no answer', detail }, cause)
    })
    // A page where JSON is expected comes from something in between.
    if (!response.ok || /^text\/html/i.test(response.headers.get('Content-Type') ?? '')) throw await problemOf(response)
    return response
  }
  const prepared = (path: string, body?: object) => {
    const headers = new Headers(body && { 'Content-Type': 'application/json' })
    if (tenant !== undefined) headers.set('X-Tenant', tenant)
    return new Request(`${base}${path}`, { method: 'POST', headers, ...(body && { body: JSON.stringify(body) }) })
  }
  const tokensFrom = async (path: string, body: object): Promise<Tokens> => {
    const response = await send(prepared(`${auth}${path}`, body))
    const read = response.clone().json() as Promise<Tokens | null>
    const tokens = await read.catch(() => null)
    if (typeof tokens?.refresh_token !== 'string') throw await problemOf(response)
    return tokens
  }
  const exchange = (refresh_token: string) => tokensFrom('/refresh-token', { refresh_token })
  const session = sessionOf(options.tokens ?? null, exchange, onTokens)

  /** Sends a request with the credential; once more when the access token had expired. */
  const sendAsSomebody = async (request: Request): Promise<Response> => {
    if (tenant !== undefined) request.headers.set('X-Tenant', tenant)
    if (api_key !== undefined) {
      request.headers.set('X-API-Key', api_key)
      return send(request)
    }
    const { generation } = session
    const token = await session.token()
    if (token === null) return send(request)
    const again = request.clone()
    request.headers.set('Authorization', `Bearer ${token}`)
    return send(request).catch(async (error) => {
      if (!(error instanceof ProblemError) || error.code !== 'token_expired') throw error
      const renewed = await session.renew(token, generation)
      if (renewed === null) throw error
      again.headers.set('Authorization', `Bearer ${renewed}`)
      return send(again)
    })
  }

  /** What breaks while a body is read is a ProblemError, too; who ends a call with their own signal gets what they ended it with. */
  const sure =
    (call: Call): Call =>
    (path, init) =>
      call(path, init).catch((error) => {
        if (error instanceof ProblemError || init?.signal?.aborted) throw error
        const isText = error instanceof SyntaxError
        const title = isText ? 'This is not an answer of Freehold' : 'The answer broke off'
        throw new ProblemError(
          { code: isText ? 'unexpected_answer' : 'unreachable', status: 0, title, detail: String(error) },
          error,
        )
      })

  // openapi-fetch takes paths and bodies from the document's types, which only the caller of createClient names.
  const made = createFetchClient({ baseUrl: base, fetch: sendAsSomebody, pathSerializer: pathOf }) as unknown as Record<
    Verb,
    Call
  >
  const GET = sure(made.GET)
  const list = async function* (path: string, init: Init = {}) {
    let cursor: string | null = null
    do {
      const query: Record<string, unknown> = { ...init.params?.query, ...(cursor !== null && { cursor }) }
      const { data: page } = (await GET(path, { ...init, params: { ...init.params, query } })) as Page
      yield* page.data
      cursor = page.next_cursor
    } while (cursor !== null)
  }
  const methods = { GET, PUT: sure(made.PUT), POST: sure(made.POST), PATCH: sure(made.PATCH), DELETE: sure(made.DELETE), list }
  return {
    ...(methods as unknown as Pick<Client<Paths>, keyof typeof methods>),
    logIn: async (credentials: Credentials) => {
      if (api_key !== undefined) throw new TypeError('This client has an API key: it does not log in.')
      const tokens = await tokensFrom('/login', credentials)
      session.set(tokens)
      return tokens
    },
    logOut: async () => {
      const { generation } = session
      if (!session.tokens) return
      await sendAsSomebody(prepared(`${auth}/logout`)).catch((error) => {
        const isOver = error instanceof ProblemError && error.code === 'session_ended'
        if (session.tokens && !isOver) throw error
      })
      if (session.tokens && session.generation === generation) session.set(null)
    },
    get tokens() {
      return session.tokens
    },
  }
}
