/**
 * Tenants that are migrated while people use them. Threat: a request meets a database between two schemas and fails in words that nobody
 * can act on, or loses a session for it.
 */
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { describe, expect, it } from 'vitest'
import { batch } from '../../src/kernel/db.ts'
import { advance, begin, type Send } from '../../src/tenants/migration/fleet.ts'
import { tenantMigrations } from '../../src/tenants/provisioning/bundled.ts'
import { migrate } from '../../src/tenants/provisioning/migrations.ts'
import { databaseOf, master, settings } from '../support/databases.ts'
import { ADMIN, type Answer, call } from '../support/people.ts'
import { plantSession } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

const NEWEST = tenantMigrations.at(-1)?.name
const send: Send = (statements) => batch(settings().MASTER_DATABASE_URL, statements)
const isTold = ({ status, body, headers }: Answer) =>
  status === 503 && body.code === 'tenant_upgrading' && /^[1-9]\d*$/.test(headers.get('Retry-After') ?? '')

/** What a person does again and again, and whether it is over. Whoever is told to come again does so, as often as they are told. */
type Person = { at: string; over: () => boolean; wrong: unknown[]; told: number; served: number }

async function ask(person: Person, path: string, more: Parameters<typeof call>[2]): Promise<Answer> {
  for (;;) {
    const answer = await call(person.at, path, more)
    if (!isTold(answer)) {
      if (answer.status < 300) person.served++
      else person.wrong.push([person.at, path, answer.status, answer.body])
      return answer
    }
    person.told++
    await scheduler.wait(Number(answer.headers.get('Retry-After')) * 1_000)
  }
}

/** Reads with a session that was there before. */
async function reads(person: Person) {
  const { access_token: token } = await plantSession(person.at)
  while (!person.over())
    for (const path of ['/api/v1/auth/me', '/api/v1/users', '/api/v1/roles', '/api/v1/units']) await ask(person, path, { token })
}

/** Goes on with a session that was there before, token by token. */
async function refreshes(person: Person) {
  let { refresh_token } = await plantSession(person.at)
  while (!person.over()) {
    const { status, body } = await ask(person, '/api/v1/auth/refresh-token', { body: { refresh_token } })
    if (status !== 200) return
    refresh_token = body.refresh_token
    await ask(person, '/api/v1/auth/me', { token: body.access_token })
  }
}

/** Logs in, reads and logs out. */
async function logsIn(person: Person) {
  while (!person.over()) {
    const { status, body } = await ask(person, '/api/v1/auth/login', { body: ADMIN })
    if (status !== 200) continue
    await ask(person, '/api/v1/auth/me', { token: body.access_token })
    await ask(person, '/api/v1/auth/logout', { token: body.access_token, method: 'POST' })
  }
}

describe('while people log in, refresh and read', () => {
  it('each is served, or told to come again and then served, and no session is lost', { timeout: 120_000 }, async () => {
    const names = Array.from({ length: 8 }, (_, i) => `upgrading-${i}`)
    for (const name of names) await copyTenant(name, { is_behind: true })
    let over = false
    const people = names.flatMap((at) =>
      [reads, refreshes, logsIn].map((does) => {
        const person: Person = { at, over: () => over, wrong: [], told: 0, served: 0 }
        return { person, does: does(person) }
      }),
    )
    // Everybody is busy before it begins.
    while (people.some(({ person }) => person.served + person.told < 3)) await scheduler.wait(50)
    const id = await begin(send, settings(), { concurrency: 2, stop_percent: 0, rest: 'now' }, 'a'.repeat(32))
    await advance(env, settings())
    const stateOf = async () => (await master(sql`select state from platform.migration_runs where id = ${id}`))[0]?.state
    while ((await stateOf()) === 'running') await scheduler.wait(200)
    const during = people.map(({ person }) => person.served)
    // And go on for longer than whoever was told to come again waits.
    await scheduler.wait(3_000)
    over = true
    await Promise.all(people.map(({ does }) => does))
    const failed = await master(sql`select step, error from platform.tenant_migrations where run_id = ${id} and state <> 'done'`)
    expect([await stateOf(), failed]).toEqual(['done', []])
    expect(people.flatMap(({ person }) => person.wrong)).toEqual([])
    for (const [i, { person }] of people.entries()) expect(person.served, person.at).toBeGreaterThan((during[i] ?? 0) + 3)
  })
})

describe('between two migrations of one release', () => {
  const newest = tenantMigrations.at(-1)

  it.each([1, 2, 3])('a request is served, or told to come again: after %i quarters of the newest', async (n) => {
    const text = newest && 'read' in newest ? await newest.read() : ''
    const statements = text.split('--> statement-breakpoint')
    expect(statements.length).toBeGreaterThan(4)
    const at = `upgrading-between-${n}`
    const { id } = await copyTenant(at, { is_behind: true })
    const before = [await plantSession(at), await plantSession(at)]
    const half = {
      name: 'tenant/9000_half',
      text: statements.slice(0, Math.ceil((statements.length * n) / 4)).join('--> statement-breakpoint'),
    }
    await migrate((await databaseOf(at)).owner_url, [...tenantMigrations.slice(0, -1), half])
    const token = before[0]?.access_token
    const answers: [string, Answer][] = []
    for (const path of [
      '/api/v1/auth/me',
      '/api/v1/users',
      '/api/v1/roles',
      '/api/v1/units',
      '/api/v1/activities',
      '/api/v1/settings',
    ])
      answers.push([path, await call(at, path, { token })])
    answers.push(['login', await call(at, '/api/v1/auth/login', { body: ADMIN })])
    const refresh = await call(at, '/api/v1/auth/refresh-token', { body: { refresh_token: before[1]?.refresh_token } })
    answers.push(['refresh', refresh])
    answers.push(['logout', await call(at, '/api/v1/auth/logout', { token, method: 'POST' })])
    expect(
      answers.filter(([, answer]) => answer.status >= 300 && !isTold(answer)).map(([what, { body }]) => [what, body]),
    ).toEqual([])
    // No release has such a ledger: the tenant is put away.
    await master(sql`update platform.tenants set schema_version = ${NEWEST}, status = 'inactive' where id = ${id}`)
  })
})
