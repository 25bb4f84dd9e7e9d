/**
 * `logs` with the real wrangler: what it says without an account; and what it prints of a tail, where this test is Cloudflare and sends one.
 * Threat: a release of wrangler prints events in another form, and nothing is shown of them.
 */
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Duplex } from 'node:stream'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { commandLine } from '../../scripts/freehold/program.ts'
import { ROOT } from '../dev/running.ts'
import { leavesOf, wordsOf } from './commands.ts'
import { ended, started } from './run.ts'

const TRACE = '0af7651916cd43dd8448eb211c80319c'
const AT = '2026-03-31T10:00:00.500Z'
const ACCOUNT = '0123456789abcdef0123456789abcdef'
const folder = mkdtempSync(join(tmpdir(), 'freehold-wrangler-'))
const calls: string[] = []
/** A server does not close those that were upgraded. */
const sockets: Duplex[] = []
let cloudflare: Server

/** An event of a tail, as Cloudflare sends it: a request that was answered 401, and what the Worker wrote about it. */
const EVENT = {
  wallTime: 12,
  cpuTime: 3,
  truncated: false,
  executionModel: 'stateless',
  outcome: 'ok',
  scriptName: 'freehold',
  diagnosticsChannelEvents: [],
  exceptions: [],
  logs: [
    {
      message: [
        JSON.stringify({
          at: AT,
          event: 'request',
          tenant: 'acme',
          trace_id: TRACE,
          method: 'POST',
          path: '/api/v1/auth/login',
          status: 401,
          code: 'invalid_credentials',
        }),
      ],
      level: 'log',
      timestamp: Date.parse(AT),
    },
  ],
  eventTimestamp: Date.parse(AT),
  event: {
    request: { url: 'https://acme.id.acme.dev/api/v1/auth/login', method: 'POST', headers: {}, cf: {} },
    response: { status: 401 },
  },
}

/** One frame of a WebSocket, from the server (RFC 6455 section 5.2). */
function frame(text: string): Buffer {
  const body = Buffer.from(text)
  return Buffer.concat([Buffer.from([0x82, 126, body.length >> 8, body.length & 255]), body])
}

beforeAll(async () => {
  cloudflare = createServer((request, response) => {
    calls.push(`${request.method} ${request.url}`)
    const { port } = cloudflare.address() as AddressInfo
    const result = { id: 'tail', url: `ws://127.0.0.1:${port}/tail`, expires_at: new Date(Date.now() + 3_600_000).toISOString() }
    response.setHeader('Content-Type', 'application/json')
    response.end(JSON.stringify({ success: true, errors: [], messages: [], result }))
  })
  cloudflare.on('upgrade', ({ headers }, socket) => {
    const accept = createHash('sha1')
      .update(`${headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
      .digest('base64')
    const answer = [
      'HTTP/1.1 101 Switching Protocols',
      'Upgrade: websocket',
      'Connection: Upgrade',
      `Sec-WebSocket-Accept: ${accept}`,
    ]
    socket.write(`${answer.join('\r\n')}\r\nSec-WebSocket-Protocol: ${headers['sec-websocket-protocol']}\r\n\r\n`)
    sockets.push(socket)
    socket.on('error', () => undefined)
    socket.write(frame(JSON.stringify(EVENT)))
  })
  cloudflare.listen(0, '127.0.0.1')
  await new Promise((done) => cloudflare.once('listening', done))
})
afterAll(async () => {
  for (const socket of sockets) socket.destroy()
  cloudflare.closeAllConnections()
  await new Promise((done) => cloudflare.close(done))
  rmSync(folder, { recursive: true, force: true })
})

const logs = (args: string[], more: Record<string, string> = {}) =>
  started(['logs', ...args], {
    PATH: `${join(ROOT, 'node_modules/.bin')}:${dirname(process.execPath)}:/usr/bin:/bin`,
    HOME: folder,
    XDG_CONFIG_HOME: folder,
    WRANGLER_SEND_METRICS: 'false',
    NO_COLOR: '1',
    ...more,
  })

test('without an account wrangler says what it needs, and so does the exit status', async () => {
  const child = logs(['--worker', 'freehold'])
  child.stdin.end()
  const { code, stdout, stderr } = await ended(child)
  expect([code, stdout]).toEqual([1, ''])
  expect(stderr).toContain("it's necessary to set a CLOUDFLARE_API_TOKEN environment variable")
  expect(stderr).toMatch(/error: wrangler ended with 1: what it said is above\.\n$/)
}, 180_000)

test('each example of --help prints the lines of a tail, and Ctrl-C ends the tail at Cloudflare', async () => {
  const { examples } = leavesOf(commandLine()).find(({ path }) => path === 'freehold logs') ?? { examples: [] }
  expect(examples.length).toBeGreaterThan(0)
  const port = (cloudflare.address() as AddressInfo).port
  for (const example of examples) {
    calls.length = 0
    const child = logs([...wordsOf(example), '--worker', 'freehold'], {
      CLOUDFLARE_API_BASE_URL: `http://127.0.0.1:${port}`,
      CLOUDFLARE_API_TOKEN: 'token',
      CLOUDFLARE_ACCOUNT_ID: ACCOUNT,
    })
    const done = ended(child)
    await Promise.race([new Promise((seen) => child.stdout.once('data', seen)), done])
    child.kill('SIGINT')
    const { code, stdout, stderr } = await done
    expect({ code, stdout }, stderr).toEqual({
      code: 0,
      stdout: `2026-03-31 10:00:00.500  warn   acme  POST /api/v1/auth/login 401 invalid_credentials  ${TRACE}\n`,
    })
    const at = `/accounts/${ACCOUNT}/workers/scripts/freehold/tails`
    expect(calls).toEqual([`POST ${at}`, `DELETE ${at}/tail`])
  }
}, 300_000)
