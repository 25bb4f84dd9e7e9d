import { z } from 'zod'
import { type Credentials, credentialsFor } from './credentials.ts'
import { ApiProblem, Failure, ProblemDocument, Unreachable } from './failure.ts'
import type { Globals } from './options.ts'

const TIMEOUT_MS = 30_000
const MEND = 'name the right address with --url or FREEHOLD_URL.'

const Tokens = z.object({ access_token: z.string(), must_change_password: z.boolean() })

/** The platform's API, as an operator. Paths are those under /platform/v1. */
export type Api = {
  call<S extends z.ZodType>(shape: S, method: 'GET' | 'POST' | 'DELETE', path: string, more?: More): Promise<z.infer<S>>
}
type More = { body?: unknown; signal?: AbortSignal }

/**
 * Does some work as an operator. Logs in at the first call, and ends that session afterwards: a person has few, and each new one would
 * push out one that they use.
 */
export async function withApi<T>({ url, data }: Globals, work: (api: Api) => Promise<T>): Promise<T> {
  const credentials = await credentialsFor(url, data)
  let session: string | null = null
  const call: Api['call'] = async (shape, method, path, more = {}) => {
    const ask = async () => {
      if (!('token' in credentials)) session ??= await logIn(url, credentials)
      const token = 'token' in credentials ? credentials.token : session
      return shaped(url, shape, await send(url, method, path, { ...more, token }))
    }
    return ask().catch((error) => {
      if (!session || !(error instanceof ApiProblem) || error.problem.code !== 'token_expired') throw error
      session = null
      return ask()
    })
  }
  try {
    return await work({ call })
  } finally {
    if (session) await send(url, 'POST', '/auth/logout', { token: session }).catch(() => undefined)
  }
}

async function logIn(url: string, { email, password, from }: Exclude<Credentials, { token: string }>): Promise<string> {
  const answer = await send(url, 'POST', '/auth/login', { body: { email, password }, token: null }).catch((error) => {
    if (!(error instanceof ApiProblem) || error.problem.code !== 'invalid_credentials') throw error
    throw new ApiProblem(error.status, error.problem, [`E-mail and password are those of ${from}.`])
  })
  const { access_token, must_change_password } = shaped(url, Tokens, answer)
  if (must_change_password)
    throw new Failure(
      `${email} must change the password first: POST ${url}/platform/v1/auth/password-change {current_password, new_password}.`,
    )
  return access_token
}

async function send(
  url: string,
  method: string,
  path: string,
  { body, signal, token }: More & { token: string | null },
): Promise<unknown> {
  const headers = {
    'User-Agent': 'freehold-cli',
    ...(body !== undefined && { 'Content-Type': 'application/json' }),
    ...(token && { Authorization: `Bearer ${token}` }),
  }
  const sent = body === undefined ? {} : { body: JSON.stringify(body) }
  // A redirect is not followed: it would carry the password to a place that nobody named.
  const limit = AbortSignal.timeout(TIMEOUT_MS)
  const request = {
    method,
    headers,
    ...sent,
    redirect: 'manual',
    signal: signal ? AbortSignal.any([signal, limit]) : limit,
  } as const
  const { response, text } = await fetch(`${url}/platform/v1${path}`, request)
    .then(async (response) => ({ response, text: await response.text() }))
    .catch((error) => {
      throw new Unreachable(`Freehold does not answer at ${url} (${reason(error)}): ${MEND}`)
    })
  if (response.ok) return text === '' ? null : json(text)
  const problem = ProblemDocument.safeParse(json(text))
  if (problem.success) throw new ApiProblem(response.status, problem.data)
  const location = response.headers.get('Location')
  throw new Failure(
    `${url} answers ${response.status}${location ? ` (go to ${location})` : ''}, and not as Freehold does: ${MEND}`,
  )
}

function shaped<S extends z.ZodType>(url: string, shape: S, answer: unknown): z.infer<S> {
  const parsed = shape.safeParse(answer)
  if (!parsed.success) throw new Failure(`${url} answers, but not as Freehold does: ${MEND}`)
  return parsed.data
}

function json(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function reason(error: Error & { cause?: { code?: string; message?: string } }): string {
  if (error.name === 'TimeoutError') return `nothing within ${TIMEOUT_MS / 1000} s`
  return error.cause?.code ?? error.cause?.message ?? error.message
}
