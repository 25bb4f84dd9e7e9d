/**
 * Threat: an update loses what people had, or keeps them out. A data folder that an older commit made, with people who used it, is started by
 * this tree as they would start it: it is migrated, and then serves them as before. It is kept in test/releases/kept (docs/testing.md).
 */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { rucFor } from '../../scripts/dev/settings.ts'
import type { KeptData } from '../../scripts/release/data.ts'
import { freePort, ROOT, type Running, ready, start } from '../dev/running.ts'
import { REAL_ITERATIONS } from '../support/cost.ts'
import { type Ask, askAt } from '../support/node/ask.ts'
import { inFolder, moveDates, type OlderFolder, olderFolder, run } from '../support/node/older-folder.ts'

/** A start with migrations takes less than 30 s on a machine with nothing else to do. */
const STARTED_MS = 120_000
const DAY_MS = 24 * 60 * 60 * 1000
/** As nobody sets it. */
const DEFAULTS = { PASSWORD_HASH_ITERATIONS: String(REAL_ITERATIONS) }
const TENANTS = ['freehold_acme', 'freehold_closed', 'freehold_demo']

let older: OlderFolder
let kept: KeptData
let running: Running | undefined
let facts: any
let port: number

const filesOf = (database: 'tenant' | 'master') =>
  readdirSync(join(ROOT, 'drizzle', database))
    .filter((file) => file.endsWith('.sql'))
    .sort()
    .map((file) => `${database}/${file.slice(0, -'.sql'.length)}`)

/** Starts the folder as its owner would. */
async function startAgain() {
  port = await freePort()
  running = start(['--json', '--data', older.path, '--port', String(port)], DEFAULTS)
  facts = await ready(running)
}

async function stop() {
  running?.child.kill('SIGINT')
  const ended = await running?.ended
  running = undefined
  return ended
}

const ask = (path: string, asked: Ask = {}) => askAt(port, path, asked)

const login = async (at: string, { email, password }: { email: string; password: string }) => {
  const answer = await ask('/api/v1/auth/login', { at, body: { email, password } })
  expect(answer, JSON.stringify(answer.body)).toMatchObject({ status: 200, body: { must_change_password: false } })
  return answer.body.access_token as string
}

beforeAll(async () => {
  older = await olderFolder()
  kept = older.kept
  await startAgain()
}, STARTED_MS)

afterAll(async () => {
  await stop()
  await older.remove()
})

describe('a data folder of an older commit', () => {
  it('is migrated with progress before the Worker answers', () => {
    const said = running?.err().trim().split('\n') ?? []
    expect(said).toEqual([
      'Postgres and the local Neon are up.',
      'The master database is migrated.',
      'Upgrading the tenant demo (1 of 3).',
      'Upgrading the tenant acme (2 of 3).',
      'Upgrading the tenant closed (3 of 3).',
      'The Worker answers.',
    ])
  })

  it('has then every migration in every database, and nobody is behind', async () => {
    const ledger = (database: string) => run(facts.postgres_url, database, 'select name from freehold.migrations order by name')
    for (const database of TENANTS)
      expect(
        (await ledger(database)).map(({ name }) => name),
        database,
      ).toEqual(filesOf('tenant'))
    const master = [...filesOf('master'), ...filesOf('tenant')]
    expect((await ledger('freehold_master')).map(({ name }) => name)).toEqual(master)
    expect(await ask('/readyz')).toMatchObject({ status: 200, body: { status: 'ok', tenants_behind: 0 } })
  })
})

describe('people of then', () => {
  it('go on with the session that they had', async () => {
    const { refresh_token } = kept.lived.acme.person
    const { status, body } = await ask('/api/v1/auth/refresh-token', { at: 'acme', body: { refresh_token } })
    expect(status, JSON.stringify(body)).toBe(200)
    const me = await ask('/api/v1/auth/me', { at: 'acme', token: body.access_token })
    expect(me.body).toMatchObject({ email: kept.lived.acme.person.email, role: kept.lived.acme.role.name })
  })

  it('log in with the password that they had, and may do what they could', async () => {
    const { person, admin, unit, role } = kept.lived.acme
    await login('acme', person)
    await login('demo', kept.lived.demo)
    const token = await login('acme', admin)
    const read = async (path: string) => (await ask(`/api/v1${path}`, { at: 'acme', token })).body
    expect(await read(`/users/${person.id}`)).toMatchObject({ unit_id: unit.id, roles: [role.name], given_name: 'Cy' })
    expect(await read(`/units/${unit.id}`)).toMatchObject({ name: unit.name })
    const checks = ['document:read', 'document:approve'].map((permission) => ({
      user_id: person.id,
      permission,
      resource: { unit_id: unit.id },
    }))
    const { body } = await ask('/api/v1/authz/check', { at: 'acme', token, body: { checks } })
    expect(body.results.map(({ allowed }: { allowed: boolean }) => allowed)).toEqual([true, false])
    const { data } = await read(`/users/${person.id}/overrides`)
    expect(data).toMatchObject([{ permission: 'document:approve', effect: 'deny' }])
    const { data: activities } = await read(`/users/${person.id}/activities`)
    expect(activities.length).toBeGreaterThan(3)
    const mails = await run(facts.postgres_url, 'freehold_acme', 'select kind, recipient from freehold.mails order by kind')
    expect(mails).toEqual(['password_changed', 'password_reset'].map((kind) => ({ kind, recipient: person.email })))
  })

  it('find their API key at work', async () => {
    const { status, body } = await ask('/api/v1/users', { at: 'acme', key: kept.lived.acme.key })
    expect(status, JSON.stringify(body)).toBe(200)
    expect(body.data.map(({ email }: { email: string }) => email)).toContain(kept.lived.acme.person.email)
  })

  it('operate their tenants: one that was switched off is so, and is switched on again', async () => {
    const { operator, closed } = kept.lived
    const { access_token: token } = (await ask('/platform/v1/auth/login', { body: operator })).body
    const { data } = (await ask('/platform/v1/tenants', { token })).body
    const statuses = Object.fromEntries(data.map(({ subdomain, status }: Record<string, string>) => [subdomain, status]))
    expect(statuses).toEqual({ acme: 'active', closed: 'inactive', demo: 'active' })
    expect((await ask(`/platform/v1/tenants/${closed.id}/activate`, { token, body: {} })).status).toBe(200)
    await login('closed', closed.admin)
  })

  it('make a tenant, which has the newest schema although its host is of then', async () => {
    const { access_token: token } = (await ask('/platform/v1/auth/login', { body: kept.lived.operator })).body
    const admin = { email: 'bo@fresh.test', password: 'Tr0ub4dor-and-3' }
    const about = { subdomain: 'fresh', legal_name: 'Fresh S.A.C.', tax_id: rucFor('fresh') }
    const body = { ...about, admin_email: admin.email, admin_password: admin.password }
    const made = await ask('/platform/v1/tenants', { token, body, headers: { Prefer: 'wait=30' } })
    expect(made.status, JSON.stringify(made.body)).toBe(201)
    await login('fresh', admin)
    const rows = await run(facts.postgres_url, 'freehold_fresh', 'select name from freehold.migrations order by name')
    expect(rows.map(({ name }) => name)).toEqual(filesOf('tenant'))
  })
})

describe('the next start', () => {
  it(
    'migrates nothing again',
    async () => {
      const ledger = () =>
        run(facts.postgres_url, 'freehold_acme', 'select name, applied_at, checksum from freehold.migrations order by name')
      const before = await ledger()
      expect((await stop())?.code).toBe(0)
      await startAgain()
      expect(running?.err()).not.toContain('Upgrading')
      expect(await ledger()).toEqual(before)
      await login('acme', kept.lived.acme.person)
    },
    STARTED_MS,
  )

  it(
    'names a tenant that cannot be upgraded, upgrades the others and serves them, and leaves one whose migration was undone',
    async () => {
      await stop()
      const [before, newest] = filesOf('tenant').slice(-2)
      const setBack = 'update platform.tenants set schema_version = $1 where subdomain = any ($2)'
      const edited = 'update freehold.migrations set checksum = checksum || $1 where name = $2'
      await inFolder(older.path, async (url) => {
        await run(url, 'freehold_master', setBack, [before, ['acme', 'closed', 'demo']])
        await run(url, 'freehold_demo', edited, ['x', newest])
        await run(
          url,
          'freehold_master',
          `insert into platform.tenant_migrations (tenant_id, target, wave, state) select id, $1, 0, 'undone' from platform.tenants where subdomain = 'closed'`,
          [newest],
        )
      })
      await startAgain()
      const said = running?.err() ?? ''
      expect(said).toMatch(/Upgrading the tenant demo \(1 of 2\)\.\nThe tenant demo was not upgraded: Migration .* was edited/)
      expect(said).toContain('Upgrading the tenant acme (2 of 2).')
      await login('acme', kept.lived.acme.person)
      const versions = 'select subdomain, schema_version from platform.tenants where subdomain = any ($1) order by subdomain'
      expect(await run(facts.postgres_url, 'freehold_master', versions, [['acme', 'closed', 'demo']])).toEqual([
        { subdomain: 'acme', schema_version: newest },
        { subdomain: 'closed', schema_version: before },
        { subdomain: 'demo', schema_version: before },
      ])
      await stop()
      await inFolder(older.path, async (url) => {
        await run(url, 'freehold_demo', 'update freehold.migrations set checksum = rtrim(checksum, $1) where name = $2', [
          'x',
          newest,
        ])
        await run(url, 'freehold_master', 'delete from platform.tenant_migrations where target = $1', [newest])
      })
      await startAgain()
      expect(running?.err()).toContain('Upgrading the tenant closed')
    },
    3 * STARTED_MS,
  )

  it(
    'after a hundred days finds passwords that have expired, and serves who has to change them',
    async () => {
      await stop()
      await moveDates(older.path, -100 * DAY_MS)
      await startAgain()
      for (const [path, at, { email, password }] of [
        ['/platform/v1', '', kept.lived.operator],
        ['/api/v1', 'acme', kept.lived.acme.person],
      ] as const) {
        const { status, body } = await ask(`${path}/auth/login`, { at, body: { email, password } })
        expect([status, body.must_change_password], email).toEqual([200, true])
      }
    },
    STARTED_MS,
  )

  it(
    'of a folder of before the baseline is refused with one sentence, and leaves it as it was',
    async () => {
      await stop()
      const OLDEST = [{ name: 'tenant/0004_rooms' }]
      await inFolder(older.path, async (url) => {
        // That ledger had other names, and no checksums.
        await run(url, 'freehold_master', 'delete from freehold.migrations')
        await run(url, 'freehold_master', 'alter table freehold.migrations drop column checksum')
        await run(url, 'freehold_master', 'insert into freehold.migrations (name) values ($1)', [OLDEST[0]?.name])
      })
      const { code, out, err } = await start(['--json', '--data', older.path, '--port', String(await freePort())], DEFAULTS).ended
      expect({ code, out }).toEqual({ code: 1, out: '' })
      expect(err.trim().split('\n')).toEqual([
        'Postgres and the local Neon are up.',
        `The data in ${older.path} was made by a version that was never released, and cannot be migrated: start with --fresh, which deletes it.`,
      ])
      await inFolder(older.path, async (url) => {
        expect(await run(url, 'freehold_master', 'select * from freehold.migrations')).toMatchObject(OLDEST)
      })
    },
    STARTED_MS,
  )
})
