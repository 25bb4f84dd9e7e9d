import { z } from 'zod'
import { type Credentials, credentialsFor, tenantCredentials } from './credentials.ts'
import { ApiProblem, Failure } from './failure.ts'
import { type Globals, requireEncryption } from './options.ts'
import { type Event, type More, type Plane, send, sendForEvents, sendLines, shaped } from './wire.ts'

/** Where the address of the platform comes from. */
const SETTING = '--url or FREEHOLD_URL'

const Tokens = z.object({ access_token: z.string(), must_change_password: z.boolean() })

/** The API of one plane, as one user. Paths are those under /platform/v1, or under /api/v1. */
export type Api = {
  call<S extends z.ZodType>(
    shape: S,
    method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE',
    path: string,
    more?: More,
  ): Promise<z.infer<S>>
  /** Sends lines of JSON and yields the lines of the answer as they arrive. */
  lines<S extends z.ZodType>(shape: S, path: string, body: ReadableStream<Uint8Array>): AsyncGenerator<z.infer<S>, void>
  /** The events of a stream, after `last`, until it ends. */
  events(path: string, more: { signal?: AbortSignal | undefined; last?: string | undefined }): AsyncGenerator<Event, void>
}

/** Runs `work` as an operator of the platform. */
export async function withApi<T>(globals: Globals, work: (api: Api) => Promise<T>): Promise<T> {
  requireEncryption(globals.url, SETTING, globals)
  const { url, data } = globals
  return asUser({ url, base: `${url}/platform/v1` }, await credentialsFor(url, data), work)
}

/** Runs `work` as a user of a tenant. */
export async function withTenant<T>(globals: Globals, tenant: string, work: (api: Api) => Promise<T>): Promise<T> {
  requireEncryption(globals.url, SETTING, globals)
  const { url } = globals
  return asUser({ url, base: `${url}/api/v1`, headers: { 'X-Tenant': tenant } }, tenantCredentials(), work)
}

/**
 * Logs in at the first call and ends that session afterwards: the number of sessions per user is limited, and a new one ends the
 * oldest.
 */
async function asUser<T>(plane: Plane, credentials: Credentials, work: (api: Api) => Promise<T>): Promise<T> {
  let session: string | null = null
  const token = async () => {
    if ('token' in credentials) return credentials.token
    session ??= await logIn(plane, credentials)
    return session
  }
  const lines: Api['lines'] = async function* (shape, path, body) {
    for await (const line of sendLines(plane, path, body, await token())) yield shaped(plane, shape, line)
  }
  const events: Api['events'] = async function* (path, more) {
    yield* sendForEvents(plane, path, { ...more, token: await token() })
  }
  const call: Api['call'] = async (shape, method, path, more = {}) => {
    const ask = async () => shaped(plane, shape, await send(plane, method, path, { ...more, token: await token() }))
    return ask().catch((error) => {
      if (!session || !(error instanceof ApiProblem) || error.problem.code !== 'token_expired') throw error
      session = null
      return ask()
    })
  }
  try {
    return await work({ call, lines, events })
  } finally {
    if (session) await send(plane, 'POST', '/auth/logout', { token: session }).catch(() => undefined)
  }
}

async function logIn(plane: Plane, { email, password, from }: Exclude<Credentials, { token: string }>): Promise<string> {
  const answer = await send(plane, 'POST', '/auth/login', { body: { email, password }, token: null }).catch((error) => {
    if (!(error instanceof ApiProblem) || error.problem.code !== 'invalid_credentials') throw error
    throw new ApiProblem(error.status, error.problem, [`E-mail and password come from ${from}.`])
  })
  const { access_token, must_change_password } = shaped(plane, Tokens, answer)
  if (must_change_password)
    throw new Failure(
      `${email} must change the password first: POST ${plane.base}/auth/password-change {current_password, new_password}.`,
    )
  return access_token
}
