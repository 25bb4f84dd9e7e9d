import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { neon } from '@neondatabase/serverless'
import { afterAll, beforeAll, expect } from 'vitest'
import { type LocalNeonOptions, startLocalNeon } from '../../scripts/local-neon/start.ts'
import { differences } from './document.ts'

// biome-ignore lint/suspicious/noExplicitAny: the document says what a body is, and every body is held against it
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

  async function start() {
    Object.assign(state, await startLocalNeon({ dataDir: state.dataDir, durable: false, operationMs: 0, ...options }))
  }
  beforeAll(async () => {
    state.dataDir = await mkdtemp(join(tmpdir(), 'local-neon-'))
    await start()
  })
  afterAll(async () => {
    await state.stop()
    await rm(state.dataDir, { recursive: true, force: true })
  })

  /** Calls the management API and holds the answer against Neon's document. */
  async function call(method: string, path: string, body?: unknown, { apiKey, headers, text }: CallOptions = {}): Promise<Reply> {
    const response = await fetch(`${state.apiUrl}${path}`, {
      method,
      headers: { authorization: `Bearer ${apiKey ?? state.apiKey}`, ...headers },
      ...(body === undefined && text === undefined ? {} : { body: text ?? JSON.stringify(body) }),
    })
    const answer = await response.text()
    const parsed: Body = answer === '' ? undefined : JSON.parse(answer)
    expect(differences(method, path.split('?')[0] ?? '', response.status, parsed)).toEqual([])
    return { status: response.status, headers: response.headers, body: parsed }
  }

  /** A project with its first branch, ready to use. */
  async function newProject(project: Record<string, unknown> = {}) {
    const { body } = await call('POST', '/projects', { project })
    await settled(body.project.id)
    const branch = `/projects/${body.project.id}/branches/${body.branch.id}`
    return { id: body.project.id as string, path: `/projects/${body.project.id}`, branch, uri: body.connection_uris[0].connection_uri as string, body }
  }

  async function settled(projectId: string) {
    for (;;) {
      const { body } = await call('GET', `/projects/${projectId}/operations`)
      if (!body.operations.some((one: { status: string }) => ['running', 'scheduling'].includes(one.status))) return
      await new Promise((done) => setTimeout(done, 5))
    }
  }

  /** How a role of a branch connects to a database. */
  async function uri(branch: string, database = 'neondb', role = 'neondb_owner') {
    const [, projectId, , branchId] = branch.split('/').slice(1)
    const query = new URLSearchParams({ database_name: database, role_name: role, branch_id: branchId ?? '' })
    return (await call('GET', `/projects/${projectId}/connection_uri?${query}`)).body.uri as string
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

  return { ...methods(), state, start, call, newProject, settled, uri, post }
}

function methods() {
  return {
    /** The same login with other words in the connection string. */
    withUser: (uri: string, user: string, password: string) => Object.assign(new URL(uri), { username: user, password }).href,
    withDatabase: (uri: string, database: string) => Object.assign(new URL(uri), { pathname: `/${encodeURIComponent(database)}` }).href,
    /** Neon's own driver. */
    driver: (uri: string) => neon(uri),
  }
}
