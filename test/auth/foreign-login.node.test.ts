/**
 * Threat: one login of an imported user freezes its isolate, and all other tenants with it. The Worker as it is deployed, in a
 * workerd of its own, with hashes of the greatest cost that an import takes: 366 slices of PBKDF2, 128 of bcrypt.
 */
import { pbkdf2Sync } from 'node:crypto'
import { Agent, request } from 'node:http'
import { hashSync } from 'bcryptjs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { rucFor } from '../../scripts/dev/settings.ts'
import { startStack } from '../../scripts/dev/stack.ts'
import { LOW_COST } from '../support/cost.ts'
import { KEYS } from '../support/keys.ts'
import { folderWithMaster } from '../support/node/cluster.ts'
import { startInWorkerd } from '../support/node/workerd.ts'

const OPERATOR = { email: 'ada@freehold.test', password: 'Correct-horse-7' }
const ADMIN = { email: 'bo@acme.test', password: 'Tr0ub4dor-and-3' }
const PASSWORD = 'Quiet-Harbour-77'
const HASHES = {
  django: `pbkdf2_sha256$1500000$salt$${pbkdf2Sync(PASSWORD, 'salt', 1_500_000, 32, 'sha256').toString('base64')}`,
  bcrypt: hashSync(PASSWORD, 14),
}
const agent = new Agent({ keepAlive: true })
let stops: (() => Promise<void>)[] = []
let port: number

beforeAll(async () => {
  const { path: dataDir, remove } = await folderWithMaster('freehold-foreign')
  stops = [remove]
  const given = { ...LOW_COST, BASE_URL: 'http://localhost', ...KEYS }
  const operator = { ...OPERATOR, must_change_password: false }
  const stack = await startStack({ dataDir, log: () => {}, given, operator, durable: false, operationMs: 0 })
  stops.unshift(stack.stop)
  const worker = await startInWorkerd(stack.env)
  stops.unshift(worker.stop)
  port = worker.port
  const asOperator = { Authorization: `Bearer ${await tokenOf('/platform/v1/auth/login', 'localhost', OPERATOR)}` }
  const tenant = { subdomain: 'acme', legal_name: 'acme', tax_id: rucFor('acme') }
  const wanted = { ...tenant, admin_email: ADMIN.email, admin_password: ADMIN.password }
  const made = await post('/platform/v1/tenants', 'localhost', wanted, { ...asOperator, Prefer: 'wait=30' })
  expect(made.status, made.text).toBe(201)
  const lines = Object.entries(HASHES).flatMap(([kind, password_hash]) =>
    [1, 2, 3].map((i) => JSON.stringify({ email: `${kind}-${i}@old.test`, password_hash })),
  )
  const moved = await send('POST', '/api/v1/users/import', 'acme.localhost', lines.join('\n'), {
    Authorization: `Bearer ${await tokenOf('/api/v1/auth/login', 'acme.localhost', ADMIN)}`,
    'Content-Type': 'application/x-ndjson',
  })
  expect(JSON.parse(moved.text.trim().split('\n').at(-1) ?? '')).toMatchObject({ created: 6, failed: 0 })
})
afterAll(async () => {
  agent.destroy()
  for (const stop of stops) await stop()
})

type Answer = { status: number; text: string }
const send = (method: string, path: string, host: string, body = '', headers: Record<string, string> = {}): Promise<Answer> =>
  new Promise((done, fail) => {
    const length = { 'Content-Length': String(Buffer.byteLength(body)) }
    const asking = request(
      { host: '127.0.0.1', port, method, path, agent, headers: { Host: host, ...length, ...headers } },
      (answer) => {
        let text = ''
        answer.on('data', (part) => {
          text += part
        })
        answer.on('error', fail)
        answer.on('end', () => done({ status: answer.statusCode ?? 0, text }))
      },
    )
    asking.on('error', fail)
    asking.end(body)
  })
const post = (path: string, host: string, body: unknown, headers: Record<string, string> = {}) =>
  send('POST', path, host, JSON.stringify(body), { 'Content-Type': 'application/json', ...headers })
const tokenOf = async (path: string, host: string, login: typeof ADMIN): Promise<string> =>
  JSON.parse((await post(path, host, login)).text).access_token
const login = (username: string, password: string) => post('/api/v1/auth/login', 'acme.localhost', { username, password })

/**
 * How long another tenant's host was at most not answered while some work went on, as a part of all that time. A hash that is computed
 * in one piece is nearly all of a login.
 */
async function longestSilence(work: Promise<unknown>): Promise<number> {
  let is_over = false
  const ended = work.finally(() => {
    is_over = true
  })
  const began = performance.now()
  const answers = [began]
  while (!is_over) {
    expect((await send('GET', '/healthz', 'beta.localhost')).status).toBe(200)
    answers.push(performance.now())
  }
  await ended
  const last = answers.at(-1) ?? began
  return Math.max(...answers.slice(1).map((at, i) => at - (answers[i] ?? at))) / (last - began)
}

test.each([
  ['Django’s, of 1,500,000 iterations', 'django'],
  ['bcrypt, of cost 14', 'bcrypt'],
])('another tenant is answered all the while a wrong password is compared with a hash of %s', async (_, kind) => {
  const trying = login(`${kind}-1`, 'Wrong-1')
  expect(await longestSilence(trying)).toBeLessThan(1 / 3)
  expect((await trying).status).toBe(401)
})

test('and while two log in at once', async () => {
  const trying = Promise.all([2, 3].map((i) => login(`django-${i}`, PASSWORD)))
  expect(await longestSilence(trying)).toBeLessThan(1 / 3)
  expect((await trying).map(({ status }) => status)).toEqual([200, 200])
})
