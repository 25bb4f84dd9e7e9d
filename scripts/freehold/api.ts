import type { z } from 'zod'
import { bearerWith } from './bearer.ts'
import { type Connection, operatorConnection, tenantConnection } from './credentials.ts'
import { ApiProblem } from './failure.ts'
import { type Globals, requireEncryption } from './options.ts'
import { type Event, type More, type Plane, send, sendForEvents, sendLines, shaped } from './wire.ts'

/** The API of one plane, as one user. Paths are those under /platform/v1, or under /api/v1. */
export type Api = {
  /** The address of the platform. */
  url: string
  call<S extends z.ZodType>(
    shape: S,
    method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE',
    path: string,
    more?: More,
  ): Promise<z.infer<S>>
  /** Sends lines, of JSON or another type, and yields the lines of the answer as they arrive. */
  lines<S extends z.ZodType>(
    shape: S,
    path: string,
    body: ReadableStream<Uint8Array>,
    type?: string,
  ): AsyncGenerator<z.infer<S>, void>
  /** The events of a stream, after `last`, until it ends. */
  events(path: string, more: { signal?: AbortSignal | undefined; last?: string | undefined }): AsyncGenerator<Event, void>
}

/** Runs `work` as an operator of the platform. */
export async function withApi<T>(globals: Globals, work: (api: Api) => Promise<T>): Promise<T> {
  return connected(globals, await operatorConnection(globals), work)
}

/** Runs `work` as a user of a tenant; null: the one of the profile. */
export async function withTenant<T>(globals: Globals, tenant: string | null, work: (api: Api) => Promise<T>): Promise<T> {
  return connected(globals, await tenantConnection(globals, tenant), work)
}

/** The plane of a connection. */
export const planeOf = ({ url, tenant }: Pick<Connection, 'url' | 'tenant'>): Plane =>
  tenant === null ? { url, base: `${url}/platform/v1` } : { url, base: `${url}/api/v1`, headers: { 'X-Tenant': tenant } }

/**
 * Runs `work` over a connection. A call whose token has expired is sent again with the next one, and one that asks for a newer login
 * once the password was right.
 */
export async function connected<T>(globals: Globals, connection: Connection, work: (api: Api) => Promise<T>): Promise<T> {
  requireEncryption(connection.url, connection.setting, globals)
  const plane = planeOf(connection)
  const bearer = bearerWith(plane, connection.credentials)
  const lines: Api['lines'] = async function* (shape, path, body, type) {
    for await (const line of sendLines(plane, path, body, await bearer.token(), type)) yield shaped(plane, shape, line)
  }
  const events: Api['events'] = async function* (path, more) {
    yield* sendForEvents(plane, path, { ...more, token: await bearer.token() })
  }
  const call: Api['call'] = async (shape, method, path, more = {}) => {
    const ask = async (token: string) => shaped(plane, shape, await send(plane, method, path, { ...more, token }))
    const attempt = async () => {
      const used = await bearer.token()
      return ask(used).catch(async (error) => {
        if (!(error instanceof ApiProblem) || error.code !== 'token_expired') throw error
        const fresh = await bearer.renew(used)
        if (fresh === null) throw error
        return ask(fresh)
      })
    }
    return attempt().catch(async (error) => {
      if (!(error instanceof ApiProblem) || error.code !== 'step_up_required' || !(await bearer.prove())) throw error
      return attempt()
    })
  }
  try {
    return await work({ url: connection.url, call, lines, events })
  } catch (error) {
    throw bearer.explain(error)
  } finally {
    await bearer.end()
  }
}
