/**
 * Threat: a deploy takes minutes, and a rollback may come at any time. Then the Worker of the release before runs over the master, the
 * tenants and the KV of this release; a function that it calls and this schema dropped, or calls with parameters that this schema no
 * longer takes, fails its users' requests.
 *
 * That Worker is kept in test/releases/kept (docs/testing.md). As long as no migration was made since, its schema is this one, and the
 * test holds what it holds of every Worker; the first function that a migration drops too early fails it.
 */
import { existsSync } from 'node:fs'
import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { type Mailbox, startMailbox } from '../../scripts/dev/mailbox.ts'
import { rucFor } from '../../scripts/dev/settings.ts'
import { startStack } from '../../scripts/dev/stack.ts'
import { unpack } from '../../scripts/release/archive.ts'
import { pathsOf } from '../../scripts/release/kept.ts'
import { type KeptWorker, workerOptions } from '../../scripts/release/worker.ts'
import { ROOT } from '../dev/running.ts'
import { LOW_COST } from '../support/cost.ts'
import { KEYS } from '../support/keys.ts'
import { askings, type Document } from '../support/matrix.ts'
import { type Ask, askAt } from '../support/node/ask.ts'
import { folderWithMaster } from '../support/node/cluster.ts'
import { bundled, runInWorkerd, startInWorkerd } from '../support/node/workerd.ts'

const OPERATOR = { email: 'ada@freehold.test', password: 'Correct-horse-7' }
const ADMIN = { email: 'bo@acme.test', password: 'Tr0ub4dor-and-3' }
const FIRST = { email: 'cy@acme.test', password: 'Violet-Anchor-38' }
/** For a tenant that is being upgraded. */
const PATIENCE = { timeout: 60_000, interval: 200 }

type Session = { access_token: string; refresh_token: string }

let stops: (() => Promise<unknown>)[] = []
let port: number
let session: Session
let operator: Session
/** What is there when every route is asked: by the beginning of its routes. */
const ids: Record<string, string> = {}
let document: Document
let mailbox: Mailbox
let schedule: () => Promise<void>
/** Starts the Worker of this release in its place. */
let again: () => Promise<void>
/** What it logged. */
const lines: string[] = []

const ask = (path: string, asked: Ask = {}) => askAt(port, path, asked)

/** Asks what must succeed, and returns its answer. */
async function done(path: string, asked: Ask, status: number): Promise<any> {
  const answer = await ask(path, asked)
  expect(answer.status, `${path}: ${JSON.stringify(answer.body)}`).toBe(status)
  return answer.body
}
/** Makes a tenant, whose administrator is bo. */
const made = (subdomain: string): Promise<any> => {
  const about = { subdomain, legal_name: `${subdomain} S.A.C.`, tax_id: rucFor(subdomain) }
  const body = { ...about, admin_email: ADMIN.email, admin_password: ADMIN.password }
  return done('/platform/v1/tenants', { token: operator.access_token, body, headers: { Prefer: 'wait=30' } }, 201)
}

beforeAll(async () => {
  const { path: dataDir, remove } = await folderWithMaster('freehold-before')
  stops = [remove]
  mailbox = await startMailbox()
  stops.unshift(mailbox.stop)
  const given = { ...LOW_COST, BASE_URL: 'http://localhost', ...KEYS, MAILBOX_URL: mailbox.url }
  const quiet = { durable: false, operationMs: 0, log: () => {} }
  const stack = await startStack({ dataDir, given, operator: { ...OPERATOR, must_change_password: false }, ...quiet })
  stops.unshift(stack.stop)
  const state = join(dataDir, 'state')
  const today = await startInWorkerd(stack.env, { state })
  stops.unshift(today.stop)
  port = today.port
  operator = await done('/platform/v1/auth/login', { body: OPERATOR }, 200)
  await made('acme')
  session = await done('/api/v1/auth/login', { at: 'acme', body: ADMIN }, 200)
  const { id: lapsed } = await made('lapsed')
  const license = { valid_until: new Date(Date.now() + 86_400_000).toISOString(), grace_days: 0 }
  const at = `/platform/v1/tenants/${lapsed}/licenses`
  const { id } = await done(at, { token: operator.access_token, body: license }, 201)
  await done(`${at}/${id}/end`, { token: operator.access_token, method: 'POST' }, 200)
  stops.shift()
  await today.stop()

  const { about, contents } = pathsOf('worker')
  const { options } = JSON.parse(await readFile(about, 'utf8')) as KeptWorker
  const modules = join(dataDir, 'before')
  await mkdir(modules)
  await unpack(contents, modules)
  // A release of before assets had only those of /docs.
  const its = existsSync(join(modules, 'assets')) && { directory: join(modules, 'assets') }
  const assets = { ...workerOptions(ROOT).assets, ...its }
  const heard = (line: string) => lines.push(line)
  const before = await runInWorkerd({ modules, options: { ...options, assets }, env: stack.env, state, heard })
  stops.unshift(before.stop)
  schedule = before.schedule
  again = async () => {
    await stops.shift()?.()
    const next = await runInWorkerd({ modules: await bundled(), options: workerOptions(ROOT), env: stack.env, state })
    stops.unshift(next.stop)
    port = next.port
    schedule = next.schedule
  }
  port = before.port
  document = (await ask('/openapi.json')).body
})

afterAll(async () => {
  for (const stop of stops) await stop()
})

describe('the Worker of the release before, over this schema', () => {
  it('is ready', async () => expect(await done('/readyz', {}, 200)).toMatchObject({ status: 'ok' }))

  it('goes on with the sessions of this release, and logs in', async () => {
    const { access_token: token } = session
    const { status, body, master } = await ask('/api/v1/auth/me', { at: 'acme', token })
    // What this release wrote into KV is enough for it.
    expect([status, body.email, master]).toEqual([200, ADMIN.email, 0])
    await done('/platform/v1/auth/me', { token: operator.access_token }, 200)
    const { refresh_token } = session
    session = await done('/api/v1/auth/refresh-token', { at: 'acme', body: { refresh_token } }, 200)
    session = await done('/api/v1/auth/login', { at: 'acme', body: ADMIN }, 200)
    operator = await done('/platform/v1/auth/login', { body: OPERATOR }, 200)
  })

  it('creates a unit, a role, a user and an API key, and decides on them', async () => {
    const asBo = (path: string, body: unknown, status = 201) =>
      done(`/api/v1${path}`, { at: 'acme', token: session.access_token, body }, status)
    const unit = await asBo('/units', { kind: 'team', name: 'Laboratory' })
    const permissions = [{ permission: 'document:read', scope: 'team' }]
    const role = await asBo('/roles', { name: 'analyst', permissions })
    const cy = await asBo('/users', { ...FIRST, role: role.name, unit_id: unit.id })
    const asked = { user_id: cy.id, resource: { unit_id: unit.id } }
    const checks = ['document:read', 'document:approve'].map((permission) => ({ ...asked, permission }))
    const { results } = await asBo('/authz/check', { checks }, 200)
    expect(results.map(({ allowed }: { allowed: boolean }) => allowed)).toEqual([true, false])
    const lines = { at: 'acme', token: session.access_token, headers: { 'Content-Type': 'application/x-ndjson' } }
    await done('/api/v1/users/import', { ...lines, body: { email: 'di@acme.test', given_name: 'Di' } }, 200)
    const { id, key } = await asBo('/api-keys', { name: 'nightly', permissions: ['user:read'] })
    const { data } = await done('/api/v1/users', { at: 'acme', key }, 200)
    expect(data.map(({ email }: { email: string }) => email)).toContain(FIRST.email)

    const { access_token: token } = await done('/api/v1/auth/login', { at: 'acme', body: FIRST }, 200)
    const change = { current_password: FIRST.password, new_password: 'Amber-Lantern-47' }
    await done('/api/v1/auth/password-change', { at: 'acme', token, body: change }, 204)
    Object.assign(ids, {
      '/api/v1/units': unit.id,
      '/api/v1/roles': role.id,
      '/api/v1/users': cy.id,
      '/api/v1/api-keys': id,
    })
  })

  it('reads a tenant whose license has ended, and refuses to change anything there', async () => {
    const { access_token: token } = await done('/api/v1/auth/login', { at: 'lapsed', body: ADMIN }, 200)
    await done('/api/v1/users', { at: 'lapsed', token }, 200)
    const refused = await done('/api/v1/units', { at: 'lapsed', token, body: { kind: 'team', name: 'Late' } }, 403)
    expect(refused.code).toBe('license_expired')
  })

  it('lists the tenants, and makes one on the hosts of this release', async () => {
    const { data } = await done('/platform/v1/tenants', { token: operator.access_token }, 200)
    expect(data.map(({ subdomain }: { subdomain: string }) => subdomain)).toEqual(['lapsed', 'acme'])
    const { id, status } = await made('later')
    expect(status).toBe('active')
    const { access_token: token } = await done('/api/v1/auth/login', { at: 'later', body: ADMIN }, 200)
    await done('/api/v1/users', { at: 'later', token, body: FIRST }, 201)
    const di = { email: 'di@freehold.test', role: 'auditor' }
    const { id: auditor } = await done('/platform/v1/operators', { token: operator.access_token, body: di }, 201)
    Object.assign(ids, { '/platform/v1/tenants': id, '/platform/v1/operators': auditor })
  })
})

describe('every route that it documents', () => {
  const OWN: Record<string, () => unknown> = {
    'POST /api/v1/auth/login': () => ADMIN,
    'POST /platform/v1/auth/login': () => OPERATOR,
    'POST /api/v1/auth/refresh-token': () => ({ refresh_token: session.refresh_token }),
    'POST /api/v1/auth/refresh': () => ({ refresh_token: session.refresh_token }),
    'POST /platform/v1/auth/refresh-token': () => ({ refresh_token: operator.refresh_token }),
    'POST /platform/v1/auth/refresh': () => ({ refresh_token: operator.refresh_token }),
    // The administrator logs in once more, below.
    'POST /platform/v1/tenants/{id}/reset-password': () => ({ email: FIRST.email }),
  }

  /** Asks all of a plane, one after another, and returns what each was answered. */
  async function askAll(plane: 'tenant' | 'platform') {
    const all = askings(document, plane, ids)
    const answers: { name: string; path: string; status: number; body: any }[] = []
    for (const { name, method, path, at, body: sample } of all) {
      const body = OWN[name]?.() ?? sample
      const token = plane === 'tenant' ? session.access_token : operator.access_token
      // A stream that is opened does not end.
      const verb = path.endsWith('/stream') ? 'HEAD' : method
      const asked: Ask = { method: verb, token, ...(plane === 'tenant' && { at: 'acme' }), ...(body !== undefined && { body }) }
      answers.push({ name, path, ...(await ask(at, asked)) })
    }
    return answers
  }

  it.each([
    ['tenant', 80],
    ['platform', 50],
  ] as const)('of the %s plane answers or refuses in words of its own', async (plane, least) => {
    const answers = await askAll(plane)
    expect(answers.length).toBeGreaterThan(least)
    expect(answers.filter(({ status }) => status >= 500)).toEqual([])
    // Who asks is known until they log out, so that all of them came as far as the database.
    const asked = answers.filter(({ path }) => !/\/auth\//.test(path))
    expect(asked.filter(({ status }) => status === 401)).toEqual([])
  })
})

describe('the job of every minute', () => {
  it('puts the audit under a checkpoint, and all mails have been delivered', async () => {
    await schedule()
    const { access_token: token } = await done('/api/v1/auth/login', { at: 'acme', body: ADMIN }, 200)
    const { data } = await done('/api/v1/audit/checkpoints', { at: 'acme', token }, 200)
    expect(data).not.toEqual([])
    const mails = (await (await fetch(`${mailbox.url}/mails.json?to=${FIRST.email}`)).json()) as { subject: string }[]
    expect(mails.map(({ subject }) => subject)).toContain('acme S.A.C.: your password was changed')
  })

  it('and nothing that was done beside the requests failed', () => {
    const events = lines.map((line) => JSON.parse(line))
    expect(events.map(({ event }) => event)).toEqual(
      expect.arrayContaining(['request', 'logged in', 'mail sent', 'users imported']),
    )
    const failed = events.filter(({ event }) => /\b(failed|not|refused|given up|broken off|stopped)\b/.test(event))
    // A mail of a kind that it does not have stays queued for the release that does.
    const waits = ({ event, detail = '' }: any) =>
      event === 'mail not sent' && detail.startsWith('There is no template for mails of the kind')
    expect(failed.filter((one) => !waits(one))).toEqual([])
  })
})

describe('the Worker of this release, once more', () => {
  it('goes on with the sessions and the tenant of the release before', async () => {
    const sessions = await Promise.all(['acme', 'later'].map((at) => done('/api/v1/auth/login', { at, body: ADMIN }, 200)))
    await again()
    await schedule()
    for (const [i, at] of ['acme', 'later'].entries()) {
      const { access_token: token, refresh_token } = sessions[i]
      // A tenant of the release before may be behind: who comes too early is told to come again.
      await vi.waitFor(() => done('/api/v1/units', { at, token, body: { kind: 'team', name: 'Field' } }, 201), PATIENCE)
      await vi.waitFor(() => done('/api/v1/auth/refresh-token', { at, body: { refresh_token } }, 200), PATIENCE)
      expect(await done('/api/v1/auth/me', { at, token }, 200)).toMatchObject({ email: ADMIN.email })
    }
  })
})
