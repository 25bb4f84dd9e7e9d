import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startStack } from '../../scripts/dev/stack.ts'
import { freePort } from '../dev/running.ts'
import { LOW_COST } from '../support/cost.ts'
import { KEYS } from '../support/keys.ts'
import { folderWithMaster } from '../support/node/cluster.ts'
import { startInWorkerd } from '../support/node/workerd.ts'

export const OPERATOR = { email: 'ada@freehold.test', password: 'Correct-horse-7' }

/** What stands between the command line and the Worker: it counts calls, and can say of a token that it has expired. */
type Door = { url: string; calls: string[]; expired: Set<string>; close: () => Promise<void> }

type Platform = { door: Door; url: string; master_url: string; sql_url: string; configFolder: string; stop: () => Promise<void> }

/** A platform of its own, behind a door, with an empty folder of configuration. `env` are settings of the Worker beside its own. */
export async function startPlatform(env: Record<string, string> = {}): Promise<Platform> {
  const folder = await folderWithMaster('freehold-profiles')
  const stops = [folder.remove]
  const configFolder = mkdtempSync(join(tmpdir(), 'freehold-config-'))
  stops.unshift(async () => rmSync(configFolder, { recursive: true }))
  const port = await freePort()
  const url = `http://localhost:${port}`
  const quiet = { dataDir: folder.path, log: () => {} }
  const given = { ...LOW_COST, BASE_URL: url, ...KEYS }
  const operator = { ...OPERATOR, must_change_password: false }
  const stack = await startStack({ ...quiet, given, operator, durable: false, operationMs: 0 })
  stops.unshift(stack.stop)
  const worker = await startInWorkerd({ ...stack.env, ...env }, { port })
  stops.unshift(worker.stop)
  const door = await openDoor(port)
  stops.unshift(door.close)
  const stop = async () => {
    for (const one of stops) await one()
  }
  return { door, url, master_url: String(stack.env.MASTER_DATABASE_URL), sql_url: stack.neon.sqlUrl, configFolder, stop }
}

async function openDoor(port: number): Promise<Door> {
  const calls: string[] = []
  const expired = new Set<string>()
  const server = createServer((asked, answer) => {
    calls.push(`${asked.method} ${asked.url}`)
    if (expired.has(String(asked.headers.authorization).slice('Bearer '.length))) {
      const problem = { type: 'about:blank', title: 'The token has expired', status: 401, code: 'token_expired' }
      answer.writeHead(401, { 'Content-Type': 'application/problem+json' }).end(JSON.stringify(problem))
      return
    }
    const headers = { ...asked.headers, host: `localhost:${port}` }
    const passed = request({ host: '127.0.0.1', port, path: asked.url, method: asked.method, headers }, (said) => {
      answer.writeHead(said.statusCode ?? 502, said.headers)
      said.pipe(answer)
    })
    passed.on('error', () => answer.destroy())
    asked.pipe(passed)
  }).listen(0, '127.0.0.1')
  await new Promise((done) => server.once('listening', done))
  const close = async () => {
    server.closeAllConnections()
    await new Promise((done) => server.close(done))
  }
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, calls, expired, close }
}
