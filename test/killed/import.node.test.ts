/**
 * Threat: a client over a real connection that sends a file and never reads the report, which then fills the memory of the Worker;
 * and one whose connection breaks, so that nobody recorded what was imported.
 */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { rucFor } from '../../scripts/dev/settings.ts'
import { type Stack, startStack } from '../../scripts/dev/stack.ts'
import { LOW_COST } from '../support/cost.ts'
import { KEYS } from '../support/keys.ts'
import { folderWithMaster } from '../support/node/cluster.ts'
import { startInWorkerd } from '../support/node/workerd.ts'

const OPERATOR = { email: 'ada@freehold.test', password: 'Correct-horse-7' }
const ADMIN = { email: 'bo@paced.test', password: 'Tr0ub4dor-and-3' }
const MIB = 1024 * 1024

let stack: Stack
let port: number
let token: string
let stops: (() => Promise<void>)[] = []
let id: string

async function post(path: string, body: unknown, headers: Record<string, string> = {}): Promise<any> {
  const answer = await fetch(`http://127.0.0.1:${port}${path}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...headers },
    body: JSON.stringify(body),
  })
  const said = await answer.json()
  expect(answer.ok, JSON.stringify(said)).toBe(true)
  return said
}

beforeAll(async () => {
  const folder = await folderWithMaster('freehold-import')
  stops = [folder.remove]
  const given = { ...LOW_COST, BASE_URL: 'http://localhost', ...KEYS }
  const operator = { ...OPERATOR, must_change_password: false }
  stack = await startStack({ dataDir: folder.path, log: () => {}, given, operator, durable: false, operationMs: 0 })
  stops.unshift(stack.stop)
  const worker = await startInWorkerd(stack.env)
  stops.unshift(worker.stop)
  port = worker.port
  const { access_token } = await post('/platform/v1/auth/login', OPERATOR)
  const wanted = { subdomain: 'paced', legal_name: 'paced', tax_id: rucFor('paced'), admin_email: ADMIN.email }
  const headers = { Authorization: `Bearer ${access_token}`, Prefer: 'wait=30' }
  id = (await post('/platform/v1/tenants', { ...wanted, admin_password: ADMIN.password }, headers)).id
  expect(id).toBeTruthy()
  token = (await post('/api/v1/auth/login', ADMIN, { 'X-Tenant': 'paced' })).access_token
})

afterAll(async () => {
  for (const stop of stops) await stop()
})

/** A connection that has sent the head of an import; it is read only when the caller says so. */
async function begin(): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  socket.pause()
  await once(socket, 'connect')
  const head = ['POST /api/v1/users/import HTTP/1.1', 'Host: localhost', 'X-Tenant: paced', `Authorization: Bearer ${token}`]
  socket.write(`${[...head, 'Content-Type: application/x-ndjson', 'Transfer-Encoding: chunked'].join('\r\n')}\r\n\r\n`)
  return socket
}
const chunk = (text: string) => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`

async function inDatabase(text: string): Promise<any[]> {
  const client = new Client({
    connectionString: Object.assign(new URL(stack.neon.postgresUrl), { pathname: '/freehold_paced' }).href,
  })
  await client.connect()
  try {
    return (await client.query(text)).rows
  } finally {
    await client.end()
  }
}

/** Asks again until the answer is there; fails with the last answer when it never is. */
async function eventually<T>(ask: () => Promise<T>, is_there: (answer: T) => boolean): Promise<T> {
  let answer = await ask()
  for (let i = 0; i < 200 && !is_there(answer); i++) {
    await pause(50)
    answer = await ask()
  }
  expect(is_there(answer), JSON.stringify(answer)).toBe(true)
  return answer
}

describe('an import over a connection', () => {
  it('whose report nobody reads is not read to its end either, and goes on when it is read', async () => {
    const socket = await begin()
    socket.on('error', () => {})
    // Each line is answered with some four times its size.
    const line = `{${Array.from({ length: 20 }, (_, n) => `"field-${n}":0`).join(',')}}\n`
    const part = chunk(line.repeat(1_000))
    const total = Math.ceil((64 * MIB) / part.length)
    let taken = 0
    ;(async () => {
      for (; taken < total && !socket.destroyed; taken++) if (!socket.write(part)) await once(socket, 'drain')
    })().catch(() => {})
    const still = async () => {
      const before = taken
      await pause(1_500)
      return taken === before
    }
    await eventually(still, (is_still) => is_still)
    expect(taken).toBeLessThan(total / 2)
    const stood = taken
    socket.resume()
    await eventually(
      async () => taken,
      (now) => now > stood + 2,
    )
    socket.destroy()
  })

  it('that breaks is recorded with what was imported until then', async () => {
    const socket = await begin()
    socket.on('error', () => {})
    let heard = ''
    socket.on('data', (part) => {
      heard += part
    })
    socket.resume()
    socket.write(chunk(Array.from({ length: 250 }, (_, n) => `{"email":"gone-${n}@paced.test"}\n`).join('')))
    await eventually(
      async () => heard,
      (text) => text.includes('gone-199'),
    )
    socket.destroy()
    const recorded = `select d.after, (select count(*)::int from freehold.users where email like 'gone-%') as people
      from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id
      where l.activity_type = 'USERS_IMPORTED' and (d.after ->> 'created')::int > 0`
    await eventually(
      () => inDatabase(recorded),
      ([row]) => row?.after.created >= 200 && row.after.created === row.people,
    )
  })
})
