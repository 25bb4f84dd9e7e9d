/** Threat: Neon answers half, two fix at once, or a tenant gets a name while what is left under it is deleted; and the doctor makes it worse. */
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import type { Fault } from '../../scripts/local-neon/fault.ts'
import { alone } from '../../src/kernel/db.ts'
import { sealOwnerUrl } from '../../src/tenants/provisioning/owner-url.ts'
import { startRun } from '../../src/tenants/provisioning/provisioning.ts'
import { kvKey } from '../../src/tenants/registry/registry.ts'
import { databaseOf, master, rowsOf, settings } from '../support/databases.ts'
import { codes, examine, fix, patient, remove } from '../support/doctor.ts'
import { askNeon, on, reserve, switchOn, WHOLE, whole } from '../support/faults.ts'
import { makeTenant, operatorToken } from '../support/people.ts'

const NAME = 'sick'
let host: Awaited<ReturnType<typeof patient>>['host']
let shared: string
let branches: string

beforeAll(async () => {
  ;({ host } = await patient(NAME))
  await makeTenant('sick-branch', { isolation: 'branch' }, await operatorToken())
  shared = host.name
  const [row] = await master(
    sql`select h.name from platform.hosts h join platform.tenants t on t.host_id = h.id where t.subdomain = 'sick-branch'`,
  )
  branches = String(row?.name)
})
afterEach(() => switchOn())

const databases = (init = {}) => askNeon(`/projects/${host.project_id}/branches/${host.branch_id}/databases`, init)
const names = async () => (await databases()).databases.map(({ name }: { name: string }) => name)

/** A database on the shared host that no tenant has. */
async function strange(name: string): Promise<string> {
  const owner_name = (await databases()).databases[0].owner_name
  await databases({ method: 'POST', body: JSON.stringify({ database: { name, owner_name } }) })
  await vi.waitUntil(async () => (await codes('neon', `${shared}/${name}`)).length === 1, { timeout: 60_000, interval: 200 })
  return `${shared}/${name}`
}

describe('a Neon that answers half', () => {
  const page = { 'Content-Type': 'text/html' }
  const json = { 'Content-Type': 'application/json' }
  const HALVES: [string, (path: string) => Fault][] = [
    ['500', (path) => ({ match: on(path), times: 1_000, kind: 'status', status: 500 })],
    [
      '429 without end',
      (path) => ({ match: on(path), times: 1_000, kind: 'status', status: 429, headers: { 'Retry-After': '0' } }),
    ],
    [
      '524 with a page',
      (path) => ({ match: on(path), times: 1_000, kind: 'status', status: 524, body: '<html>timeout</html>', headers: page }),
    ],
    [
      '404 with a page',
      (path) => ({ match: on(path), times: 1_000, kind: 'status', status: 404, body: '<html>gone</html>', headers: page }),
    ],
    [
      '200 with a page',
      (path) => ({ match: on(path), times: 1_000, kind: 'status', status: 200, body: '<html>hello</html>', headers: page }),
    ],
    [
      '200 with nothing in it',
      (path) => ({ match: on(path), times: 1_000, kind: 'status', status: 200, body: '{}', headers: json }),
    ],
    [
      'half of a document',
      (path) => ({ match: on(path), times: 1_000, kind: 'status', status: 200, body: '{"databases":[{"na', headers: json }),
    ],
    [
      'lists that are empty',
      (path) => ({
        match: on(path),
        times: 1_000,
        kind: 'status',
        status: 200,
        body: '{"databases":[],"branches":[],"projects":[]}',
        headers: json,
      }),
    ],
    ['nothing', (path) => ({ match: on(path), times: 1_000, kind: 'drop_before' })],
  ]
  const CALLS = ['GET /branches$', 'GET /databases$', 'GET /projects/[^/]+$']
  const all = CALLS.flatMap((at) => HALVES.map(([answer, fault]) => [answer, at, fault] as const))

  it.each(all)(
    '(%s to %s) is told, and nothing of its host is called missing or of nobody',
    async (_, at, fault) => {
      const named = ({ code, subject }: { code: string; subject: string }) => `${code} ${subject}`
      // What other files have left on this host is found with and without the fault.
      const before = new Set((await examine('neon')).map(named))
      await switchOn(fault(at))
      const found = await examine('neon')
      await switchOn()
      const ours = found.filter((one) => [shared, branches].includes(one.subject.split('/')[0] ?? '') && !before.has(named(one)))
      expect(ours.map(({ code }) => code).filter((code) => code !== 'neon_unreadable')).toEqual([])
      // A project whose document says nothing is there: its lists are what counts.
      if (at !== 'GET /projects/[^/]+$') expect(ours.map(({ subject }) => subject)).toContain(shared)
    },
    60_000,
  )

  /** Neon's API lists no database but the host's own, as before it has seen what SQL made. */
  async function unlisted(): Promise<Fault> {
    const real = await databases()
    const body = JSON.stringify({ databases: real.databases.filter(({ name }: { name: string }) => name === 'neondb') })
    return { match: on('GET /databases$'), times: 1_000, kind: 'status', status: 200, body, headers: json }
  }

  it('gives a list that lacks a tenant’s database: what Postgres has is not called missing', async () => {
    const ofHost = async () => (await examine('neon')).filter(({ subject }) => subject.split('/')[0] === shared)
    const before = await ofHost()
    await switchOn(await unlisted())
    expect(await ofHost()).toEqual(before)
  })

  it('does not list a database that SQL made: it is found, and deleted, also when the API does not know it', async () => {
    const { host_url } = await databaseOf(NAME)
    const left = ['sick_by_sql', `freehold-template-${host.id.replaceAll('-', '').slice(0, 12)}-000000000000`]
    for (const name of left) await alone(host_url, sql`create database ${sql.identifier(name)}`)
    const unknown = { kind: 'status', status: 404, body: '{"code":"","message":"database not found"}', headers: json } as const
    await switchOn(await unlisted(), { match: on('DELETE /databases/sick_by_sql$'), times: 1_000, ...unknown })
    expect(await codes('neon', `${shared}/${left[0]}`)).toEqual(['database_of_nobody'])
    expect(await codes('neon', `${shared}/${left[1]}`)).toEqual(['template_stale'])
    expect((await remove('database_of_nobody', `${shared}/${left[0]}`, String(left[0]))).status).toBe(200)
    expect((await fix('template_stale', `${shared}/${left[1]}`)).status).toBe(200)
    const names = JSON.stringify(left)
    const in_postgres = sql`select 1 from pg_database where datname in (select jsonb_array_elements_text(${names}::jsonb))`
    expect(await rowsOf(host_url, in_postgres)).toEqual([])
  })

  it('whose databases refuse the login of the host is told, too', async () => {
    const [row] = await master(sql`select owner_url_encrypted from platform.hosts where id = ${host.id}`)
    const { host_url } = await databaseOf(NAME)
    const wrong = await sealOwnerUrl(settings(), host.id, Object.assign(new URL(host_url), { password: 'wrong' }).href)
    await master(sql`update platform.hosts set owner_url_encrypted = ${wrong} where id = ${host.id}`)
    const found = (await examine('neon')).filter(({ subject }) => subject.split('/')[0] === shared)
    await master(sql`update platform.hosts set owner_url_encrypted = ${row?.owner_url_encrypted} where id = ${host.id}`)
    expect(found.map(({ code }) => code)).toEqual(['neon_unreadable'])
  })

  it('in the middle of a deletion leaves what can be done again', async () => {
    const subject = await strange('sick_half')
    await switchOn({ match: on('DELETE /databases/sick_half$'), times: 1, kind: 'drop_after' })
    const first = await remove('database_of_nobody', subject, 'sick_half')
    await switchOn()
    expect([200, 503]).toContain(first.status)
    const second = await remove('database_of_nobody', subject, 'sick_half')
    expect([200, 409]).toContain(second.status)
    expect(await names()).not.toContain('sick_half')
    expect(await master(sql`select removing from platform.hosts where id = ${host.id}`)).toEqual([{ removing: null }])
  })
})

describe('two at once', () => {
  it('who delete one database delete it once, and both hear how it is', async () => {
    const subject = await strange('sick_twice')
    const answers = await Promise.all([1, 2, 3].map(() => remove('database_of_nobody', subject, 'sick_twice')))
    expect(answers.map(({ status }) => status).filter((status) => status !== 409)).toContain(200)
    expect(answers.every(({ status }) => status === 200 || status === 409)).toBe(true)
    expect(await names()).not.toContain('sick_twice')
  })

  it('who write one entry again write it', async () => {
    await env.TENANTS.delete(kvKey(NAME))
    const answers = await Promise.all([1, 2, 3].map(() => fix('kv_missing', NAME)))
    expect(answers.filter(({ status }) => status === 200).length).toBeGreaterThan(0)
    expect(answers.every(({ status }) => status === 200 || status === 409)).toBe(true)
    expect(await env.TENANTS.get(kvKey(NAME))).not.toBe(null)
  })
})

describe('a tenant that gets the name of what is left', () => {
  it('while it is deleted gets a database of its own, and keeps it', async () => {
    const { id, run_id } = await reserve('sick-heir', 'database')
    const [row] = await master(sql`select t.database_name from platform.tenants t where t.id = ${id}`)
    const name = String(row?.database_name)
    const subject = await strange(name)
    // The deletion takes its time, and the tenant is placed meanwhile.
    await switchOn({ match: on(`DELETE /databases/${name}$`), times: 1, kind: 'delay', ms: 3_000 })
    const deleting = remove('database_of_nobody', subject, name)
    await vi.waitUntil(async () => (await master(sql`select from platform.hosts where removing = ${name}`)).length === 1, 10_000)
    await startRun(env, run_id)
    await scheduler.wait(1_500)
    const [during] = await master(sql`select t.host_id from platform.tenants t where t.id = ${id}`)
    expect(during?.host_id).not.toBe(host.id)
    expect((await deleting).status).toBe(200)
    await vi.waitUntil(
      async () =>
        ['active', 'failed'].includes((await master(sql`select status from platform.tenants where id = ${id}`))[0]?.status),
      { timeout: 60_000, interval: 200 },
    )
    expect(await whole('sick-heir')).toMatchObject({ ...WHOLE, subdomain: 'sick-heir' })
    expect((await remove('database_of_nobody', subject, name)).status).toBe(409)
    expect((await whole('sick-heir')).status).toBe('active')
  })

  it('before it is deleted has it: nothing is deleted', async () => {
    const { id } = await reserve('sick-first', 'database')
    const [row] = await master(sql`select t.database_name from platform.tenants t where t.id = ${id}`)
    const name = String(row?.database_name)
    const subject = await strange(name)
    await master(sql`update platform.tenants set host_id = ${host.id} where id = ${id}`)
    const answer = await remove('database_of_nobody', subject, name)
    expect([answer.status, answer.body.code]).toEqual([409, 'illegal_state'])
    expect(await names()).toContain(name)
    await master(sql`update platform.tenants set status = 'failed', host_id = null where id = ${id}`)
    expect((await remove('database_of_nobody', subject, name)).status).toBe(200)
  })
})
