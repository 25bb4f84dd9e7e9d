import { neon, neonConfig } from '@neondatabase/serverless'
import { beforeAll, expect } from 'vitest'
import { type LocalNeonOptions, startLocalNeon } from '../../scripts/local-neon/start.ts'
import { folderWithCluster } from '../support/node/cluster.ts'

// The document says what a body is, and `call` holds every body against it
type Body = any

export interface Reply {
  status: number
  headers: Headers
  body: Body
}

export interface CallOptions {
  apiKey?: string
  headers?: Record<string, string>
  /** Sent as it is. */
  text?: string
}

/** A local Neon in a folder of its own for the tests of a file. */
export function started(options: Partial<LocalNeonOptions> = {}) {
  const state = { dataDir: '', apiUrl: '', sqlUrl: '', apiKey: '', postgresUrl: '', stop: async () => {} }

  async function start(changed: Partial<LocalNeonOptions> = {}) {
    Object.assign(state, await startLocalNeon({ dataDir: state.dataDir, durable: false, operationMs: 0, ...options, ...changed }))
    neonConfig.fetchEndpoint = () => state.sqlUrl
  }
  beforeAll(async () => {
    const { path, remove } = await folderWithCluster('local-neon')
    state.dataDir = path
    await start()
    return async () => {
      await state.stop()
      await remove()
    }
  })

  async function ask(method: string, path: string, body?: unknown, { apiKey, headers, text }: CallOptions = {}): Promise<Reply> {
    const response = await fetch(`${state.apiUrl}${path}`, {
      method,
      headers: { authorization: `Bearer ${apiKey ?? state.apiKey}`, ...headers },
      ...(body === undefined && text === undefined ? {} : { body: text ?? JSON.stringify(body) }),
    })
    const answer = await response.text()
    return { status: response.status, headers: response.headers, body: answer === '' ? undefined : JSON.parse(answer) }
  }

  /** Calls the management API and holds the answer against Neon's document. */
  async function call(method: string, path: string, body?: unknown, more?: CallOptions): Promise<Reply> {
    const { differences } = await import('./document.ts')
    const reply = await ask(method, path, body, more)
    expect(differences(method, path.split('?')[0] ?? '', reply.status, reply.body)).toEqual([])
    return reply
  }

  /** A project with its first branch, ready to use. */
  async function newProject(project: Record<string, unknown> = {}) {
    const { body } = await ask('POST', '/projects', { project })
    await settled(body.project.id)
    const path = `/projects/${body.project.id}`
    const uri: string = body.connection_uris[0].connection_uri
    return { id: body.project.id as string, path, branch: `${path}/branches/${body.branch.id}`, uri, body }
  }

  /** Resolves when no operation of the project runs. */
  async function settled(projectId: string) {
    for (;;) {
      const { body } = await ask('GET', `/projects/${projectId}/operations`)
      if (!body.operations.some(({ status }: { status: string }) => status === 'running' || status === 'scheduling')) return
      await new Promise((done) => setTimeout(done, 5))
    }
  }

  /** How a role of a branch connects to a database. */
  async function uriOf(branch: string, database = 'neondb', role = 'neondb_owner') {
    const [, , projectId, , branchId = ''] = branch.split('/')
    const query = new URLSearchParams({ database_name: database, role_name: role, branch_id: branchId })
    return (await ask('GET', `/projects/${projectId}/connection_uri?${query}`)).body.uri as string
  }

  /** A request to `/sql` as any client could send it. */
  async function post(connection: string | undefined, body: unknown, headers: Record<string, string> = {}): Promise<Reply> {
    const response = await fetch(state.sqlUrl, {
      method: 'POST',
      headers: { ...(connection === undefined ? {} : { 'neon-connection-string': connection }), ...headers },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    })
    return { status: response.status, headers: response.headers, body: await response.json() }
  }

  return { state, start, ask, call, newProject, settled, uriOf, post }
}

/** The same place with another login. */
export const as = (uri: string, user: string, password: string) => Object.assign(new URL(uri), { username: user, password }).href

/** The same login at another database. */
export const at = (uri: string, database: string) =>
  Object.assign(new URL(uri), { pathname: `/${encodeURIComponent(database)}` }).href

/** Neon's own driver. */
export const sqlOf = (uri: string) => neon(uri)
