/** Threat: the mail server is away, or the Worker is killed while it sends, and mails are lost or sent again and again. */
import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { rucFor } from '../../scripts/dev/settings.ts'
import { type Stack, startStack } from '../../scripts/dev/stack.ts'
import { freePort } from '../dev/running.ts'
import { LOW_COST } from '../support/cost.ts'
import { KEYS } from '../support/keys.ts'
import { folderWithMaster } from '../support/node/cluster.ts'
import { POST_LOGIN, smtpServer } from '../support/node/post-office.ts'
import { startWorker } from '../support/node/worker.ts'

const PEM = fileURLToPath(new URL('../support/node/localhost.pem', import.meta.url))
const OPERATOR = { email: 'ada@freehold.test', password: 'Correct-horse-7', must_change_password: false }
const MAILS = 1_000

let folder: { path: string; remove: () => Promise<void> }
let stack: Stack
let worker: { stop: () => Promise<void> } | undefined
let port: number
let mailPort: number
let database: string
let office: ReturnType<typeof smtpServer>

/** Starts the Worker, whose mail goes to a host that must speak TLS under that name. */
async function wake(host = 'localhost', scheme = 'smtp') {
  const { username, password } = POST_LOGIN
  const SMTP_URL = `${scheme}://${username}:${encodeURIComponent(password)}@${host}:${mailPort}`
  const env = { ...stack.env, SMTP_URL, MAIL_FROM: 'Freehold <no-reply@freehold.test>' }
  worker = await startWorker({ dataDir: folder.path, port, env, log: () => {} })
}

/** Kills the Worker as a machine that goes down would. */
async function killWorker() {
  const group = Number((await readFile(join(folder.path, 'worker.pid'), 'utf8')).split(' ')[1])
  process.kill(-group, 'SIGKILL')
  await worker?.stop()
  worker = undefined
}

async function inDatabase(name: string, text: string, values: unknown[] = []): Promise<any[]> {
  const url = Object.assign(new URL(stack.neon.postgresUrl), { pathname: `/${name}` })
  const client = new Client({ connectionString: url.href })
  await client.connect()
  try {
    return (await client.query(text, values)).rows
  } finally {
    await client.end()
  }
}
const tenant = (text: string, values?: unknown[]) => inDatabase(database, text, values)

async function ask(path: string, body: unknown, headers: Record<string, string> = {}): Promise<any> {
  const answer = await fetch(`http://127.0.0.1:${port}${path}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...headers },
    body: JSON.stringify(body),
  })
  return answer.json()
}

/** A minute: the schedule comes round. */
const minute = () => fetch(`http://127.0.0.1:${port}/cdn-cgi/local/scheduled?cron=*+*+*+*+*`).catch(() => null)
const states = async () =>
  Object.fromEntries(
    (await tenant('select state, count(*)::integer as n from freehold.mails group by state')).map(({ state, n }) => [state, n]),
  )
/** What is written past the Worker, the schedule is told. */
const visitNext = () =>
  inDatabase(new URL(String(stack.env.MASTER_DATABASE_URL)).pathname.slice(1), 'update platform.maintenance set due_at = now()')
const post = (count: number, box: string) =>
  tenant(`select access.enqueue_mail('password_changed', null, $2 || i || '@post.test') from generate_series(1, $1::integer) i`, [
    count,
    box,
  ]).then(visitNext)
/** Leases and back-offs are over. */
const later = () => tenant("update freehold.mails set next_at = now(), lease_until = null where state = 'queued'").then(visitNext)

const open = (options = {}) => {
  const pem = readFileSync(PEM)
  office = smtpServer({ authOptional: false, allowInsecureAuth: false, disabledCommands: [], key: pem, cert: pem, ...options })
  return new Promise<void>((done) => office.server.listen(mailPort, '127.0.0.1', () => done()))
}
const close = () => new Promise<void>((done) => office.server.close(() => done()))

beforeAll(async () => {
  // Read by the runtime that is started below: a server with this certificate is believed to be localhost.
  process.env.NODE_EXTRA_CA_CERTS = PEM
  folder = await folderWithMaster('freehold-mail')
  port = await freePort()
  mailPort = await freePort()
  const given = { ...LOW_COST, BASE_URL: `http://localhost:${port}`, ...KEYS }
  stack = await startStack({ dataDir: folder.path, given, operator: OPERATOR, durable: true, operationMs: 0, log: () => {} })
  await wake()
  const { email, password } = OPERATOR
  const { access_token } = await ask('/platform/v1/auth/login', { email, password })
  const made = await ask(
    '/platform/v1/tenants',
    {
      subdomain: 'posted',
      legal_name: 'Posted S.A.C.',
      tax_id: rucFor('posted'),
      admin_email: 'bo@acme.test',
      admin_password: 'Tr0ub4dor-and-3',
    },
    { Authorization: `Bearer ${access_token}`, Prefer: 'wait=30' },
  )
  database = made.database_name
})

afterAll(async () => {
  delete process.env.NODE_EXTRA_CA_CERTS
  await worker?.stop()
  await stack?.stop()
  await folder?.remove()
})

describe('a thousand mails', () => {
  it('wait while the server is away, and are all sent when it is back, though the Worker is killed three times', async () => {
    await post(MAILS, 'away-')
    for (let i = 0; i < 2; i++) await minute()
    expect(await states()).toEqual({ queued: MAILS })
    await later()

    await open()
    const kills = 3
    for (let i = 1; i <= kills; i++) {
      const run = minute()
      while (office.taken.length < i * 200) await pause(5)
      await killWorker()
      await run
      await wake()
      await later()
    }
    for (let i = 0; i < 10 && (await states()).queued; i++) await minute()
    expect(await states()).toEqual({ sent: MAILS })

    const taken = Map.groupBy(office.taken, ({ to }) => to)
    expect(taken.size).toBe(MAILS)
    expect(office.taken.length - MAILS).toBeLessThanOrEqual(kills)
    const idOf = (raw: string) => /^Message-ID: (.+)\r$/m.exec(raw)?.[1]
    for (const copies of taken.values()) expect(new Set(copies.map(({ raw }) => idOf(raw))).size).toBe(1)
    expect(new Set(office.taken.map(({ raw }) => idOf(raw))).size).toBe(MAILS)
    for (const { secure, user } of office.taken) expect([secure, user]).toEqual([true, POST_LOGIN.username])
    await close()
  }, 240_000)
})

it('smtps:// is TLS from the first byte', async () => {
  await killWorker()
  await wake('localhost', 'smtps')
  await open({ secure: true })
  await post(1, 'smtps-')
  await minute()
  expect(office.taken).toMatchObject([{ to: 'smtps-1@post.test', secure: true, user: POST_LOGIN.username }])
  await close()
})

describe('a server that is not who it should be', () => {
  it.each<[string, string, object]>([
    ['with a certificate of another name', '127.0.0.1', {}],
    ['that hides STARTTLS', '127.1', { hideSTARTTLS: true, allowInsecureAuth: true }],
  ])(
    '%s is told neither password nor mail',
    async (_, host, options) => {
      await killWorker()
      await wake(host)
      const heard: string[] = []
      await open({
        ...options,
        onAuth: (auth: { password: string }, __: unknown, done: (error: Error) => void) =>
          done(new Error(heard.push(auth.password) ? 'no' : '')),
      })
      await post(1, `wrong-${host}-`)
      await minute()
      expect([heard, office.taken]).toEqual([[], []])
      await close()
      expect((await states()).queued).toBeGreaterThan(0)
      await tenant("update freehold.mails set state = 'dead', finished_at = now() where state = 'queued'")
    },
    60_000,
  )
})
