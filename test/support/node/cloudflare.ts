/**
 * Cloudflare's API, as far as a set-up and wrangler's deploy ask it: a stand-in, because the real one cannot run here. Paths, envelopes
 * and error codes are those of its documentation; it keeps what is made, and knows tokens that may do too little. Requests that are not
 * for the API are those of the world: they go to the Worker that was deployed, once it has routes.
 */
import { createServer, request as forward, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type Asked, newState, ofTheZone, ofWorkers, Refusal, type Script } from './cloudflare-state.ts'

const API = '/client/v4'
const ALL = ['routes', 'scripts', 'kv', 'r2', 'dns', 'settings', 'bots', 'certificates', 'zone'] as const
type Permission = (typeof ALL)[number]
/** What a path takes; the first that matches. */
const TAKES: [RegExp, Permission][] = [
  [/\/routes$/, 'routes'],
  [/\/(workers|workflows)\//, 'scripts'],
  [/\/kv\//, 'kv'],
  [/\/r2\//, 'r2'],
  [/\/dns_records/, 'dns'],
  [/\/settings\//, 'settings'],
  [/\/bot_management/, 'bots'],
  [/\/ssl\//, 'certificates'],
  [/^\/zones/, 'zone'],
]

/** Starts it with a new account that has one zone; `serve` runs a Worker that was uploaded, and gives its port. */
export async function startCloudflare(zone: string, serve: (script: Script) => Promise<number>) {
  const state = newState(zone)
  const token = 'cf-token-that-may'
  const may = { read: new Set<Permission>(ALL), edit: new Set<Permission>(ALL) }
  /** What changed something, in order. */
  const changes: string[] = []
  /** Called when a change has been made and not been answered. */
  const on = { change: (_: string) => {} }
  const serving = new Map<Script, Promise<number>>()
  const table = Object.entries({ ...ofTheZone(state), ...ofWorkers(state) }).map(([route, handle]) => ({
    pattern: new RegExp(`^${route.replaceAll(/:\w/g, '([^/]+)')}$`),
    handle,
  }))

  async function answer(asked: Asked, authorization: string): Promise<unknown> {
    if (authorization !== `Bearer ${token}`) throw new Refusal(403, 9109, 'Invalid access token')
    const name = `${asked.method} ${asked.path}`
    const route = table.find(({ pattern }) => pattern.test(name))
    if (!route) throw new Refusal(404, 7003, `Could not route to ${name}, perhaps your object identifier is invalid?`)
    const takes = TAKES.find(([path]) => path.test(asked.path))?.[1] ?? 'zone'
    const allowed = asked.method === 'GET' ? may.read : may.edit
    if (!allowed.has(takes)) throw new Refusal(403, 10000, 'Authentication error')
    const result = await route.handle(asked, ...(route.pattern.exec(name)?.slice(1) ?? []))
    if (asked.method !== 'GET') {
      changes.push(name)
      on.change(name)
    }
    return result
  }

  /** What the world gets at the first host that has a route. */
  async function atTheEdge(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [route] = state.routes
    const script = state.scripts.get(route?.script ?? '')
    if (!script || !route) return void response.writeHead(530).end('error code: 1016')
    const port = serving.get(script) ?? serve(script)
    serving.set(script, port)
    const { method, url: path, headers } = request
    const host = route.pattern.replace(/\/.*/, '')
    const onward = forward({ host: '127.0.0.1', port: await port, method, path, headers: { ...headers, host } }, (answered) => {
      response.writeHead(answered.statusCode ?? 520, answered.headers)
      answered.pipe(response)
    })
    onward.once('error', (error) => response.writeHead(520).end(String(error)))
    request.pipe(onward)
  }

  const server = createServer(async (request, response) => {
    const url = new URL(request.url ?? '/', 'http://localhost')
    if (!url.pathname.startsWith(API)) return atTheEdge(request, response)
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    const { method = '', headers } = request
    const path = url.pathname.slice(API.length)
    const asked = { method, path, query: url.searchParams, body: Buffer.concat(chunks), type: headers['content-type'] ?? '' }
    response.setHeader('Content-Type', 'application/json')
    try {
      const result = await answer(asked, headers.authorization ?? '')
      response.end(JSON.stringify({ success: true, errors: [], messages: [], result }))
    } catch (error) {
      const { status, code, message } = error instanceof Refusal ? error : { status: 500, code: 1, message: String(error) }
      response.statusCode = status
      response.end(JSON.stringify({ success: false, errors: [{ code, message }], messages: [], result: null }))
    }
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const at = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const stop = async () => {
    server.closeAllConnections()
    await new Promise<void>((done) => server.close(() => done()))
  }
  return { at, api: `${at}${API}`, token, state, may, changes, on, stop }
}
