/** Usernames that nobody chose. Threat: a user who is refused for a name that they never wrote, or who gets an administrator's. */
import { exports } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { databaseOf } from '../support/databases.ts'
import { inside } from '../support/inside.ts'
import { call, operatorToken, wanted } from '../support/people.ts'
import { expectProblem, pointers } from '../support/refusal.ts'
import { admit, credentialOf, tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

const AT = 'nameless'
let token: string

beforeAll(async () => {
  await copyTenant(AT)
  token = await tokenOf(AT)
})

type Row = { status?: string; username?: string; errors?: { pointer: string }[]; summary?: boolean; created?: number }
async function move(lines: object[], query = ''): Promise<Row[]> {
  const response = await exports.default.fetch(
    new Request(`http://${AT}.freehold.test/api/v1/users/import?${query}`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/x-ndjson' },
      body: lines.map((line) => `${JSON.stringify(line)}\n`).join(''),
    }),
  )
  return (await response.text())
    .trimEnd()
    .split('\n')
    .map((row) => JSON.parse(row))
}
const create = (email: string, more: object = {}) => call(AT, '/api/v1/users', { token, body: { email, ...more } })
const SUFFIXED = (name: string) => new RegExp(`^${name}-[0-9a-f]{5}$`)

describe('a username that is made of an address', () => {
  it('is free: of two addresses with one name both are created, in either way of creating', async () => {
    const [first, second] = await move([{ email: 'info@one.test' }, { email: 'info@two.test' }])
    expect(first).toMatchObject({ status: 'created', username: 'info' })
    expect(second).toMatchObject({ status: 'created', username: expect.stringMatching(SUFFIXED('info')) })
    const third = await create('info@three.test')
    expect(third.status).toBe(201)
    expect(third.body.username).toMatch(SUFFIXED('info'))
  })

  it.each(['admin', 'root', 'system', '_admin', 'ad&min'])('is no reserved one: %s@', async (local) => {
    const answer = await create(`${local}@reserved.test`)
    expect(answer.status).toBe(201)
    expect(answer.body.username).toMatch(SUFFIXED(local.replace(/[^a-z]/g, '')))
    const [moved] = await move([{ email: `${local}@reserved-too.test` }])
    expect(moved?.username).toMatch(SUFFIXED(local.replace(/[^a-z]/g, '')))
  })

  it('is `user` where the address has nothing for one, and still free', async () => {
    expect((await create('_@one.test')).body.username).toBe('user')
    expect((await create('&@two.test')).body.username).toMatch(SUFFIXED('user'))
  })

  it('is different for twenty who are created at once, none of whom is refused', async () => {
    const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => create(`sales@at-once-${i}.test`)))
    expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(201))
    const names = answers.map(({ body }) => body.username)
    expect(new Set(names).size).toBe(20)
    for (const name of names) expect(name).toMatch(/^sales(-[0-9a-f]{5})?$/)
  })

  it('gives way to one that is being chosen at the same moment', async () => {
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) => create(`chosen@at-once-${i}.test`, i % 2 ? {} : { username: 'chosen' })),
    )
    expect(answers.filter((_, i) => i % 2).map(({ status }) => status)).toEqual(Array(10).fill(201))
    for (const answer of answers.filter(({ status }) => status !== 201)) expect(pointers(answer)).toEqual(['#/username'])
  })

  it('leaves one that was chosen to be refused, and lets an administrator choose a reserved one', async () => {
    const answer = await create('another@one.test', { username: 'user' })
    expectProblem(answer, 409, 'already_exists')
    expect((await create('boss@one.test', { username: 'root' })).body.username).toBe('root')
  })

  it('is made for no request that creates nobody', async () => {
    const tenant = await databaseOf(AT)
    const bo = await credentialOf(AT, 'bo')
    const ask = sql`select access.new_username('info', 'a@b.test')`
    await expect(tenant.asApp(ask)).rejects.toThrow(/forbidden/)
    await expect(tenant.asApp(admit(tenant, bo, 'user:read'), ask)).rejects.toThrow(/forbidden/)
    expect((await tenant.asApp(admit(tenant, bo, 'user:create'), ask))[0]?.new_username).toMatch(SUFFIXED('info'))
  })

  it('is the first administrator’s, too', async () => {
    const answer = await call('', '/platform/v1/tenants', {
      token: await operatorToken(),
      headers: { Prefer: 'wait=30' },
      body: wanted('nameless-admin', { admin_email: 'admin@acme.test' }),
    })
    expect(answer.status).toBe(201)
    const made = await inside('nameless-admin')
    const [admin] = await made.asOwner(sql`select username, role from freehold.users`)
    expect(admin).toEqual({ username: expect.stringMatching(SUFFIXED('admin')), role: 'admin' })
  })
})

describe('a dry run', () => {
  const people = (from: number, to: number, more: (i: number) => object = () => ({})) =>
    Array.from({ length: to - from }, (_, i) => ({ email: `dry-${from + i}@promise.test`, ...more(from + i) }))
  const outcome = (rows: Row[]) =>
    rows.map(({ status, username, errors, created, summary }) =>
      summary ? { created } : { status: status?.replace('would_create', 'created'), username, errors },
    )

  it('counts the places in a role across its batches: 300 lines for 250 places', async () => {
    await call(AT, '/api/v1/roles', { token, body: { name: 'crew', max_users: 250 } })
    const lines = people(0, 300, (i) => (i % 2 ? { role: 'crew' } : { roles: ['user', 'crew'] }))
    const dry = await move(lines, 'dry_run=true')
    expect(dry.at(-1)).toMatchObject({ created: 250, failed: 50 })
    expect(outcome(await move(lines))).toEqual(outcome(dry))
  })

  it('makes up the usernames that the run makes up, and finds those that are taken', async () => {
    const lines = [
      { email: 'desk@one.test' },
      { email: 'any@one.test', username: 'chief' },
      ...people(1000, 1200),
      { email: 'desk@two.test' },
      { email: 'chief@one.test' },
      { email: 'more@one.test', username: 'desk' },
      { email: 'DESK@one.test', username: 'other' },
    ]
    const dry = await move(lines, 'dry_run=true')
    expect(dry.slice(202).map(({ username, errors, created }) => username ?? errors?.[0]?.pointer ?? created)).toEqual([
      expect.stringMatching(SUFFIXED('desk')),
      expect.stringMatching(SUFFIXED('chief')),
      '#/username',
      '#/email',
      204,
    ])
    expect(outcome(await move(lines))).toEqual(outcome(dry))
  })

  it('leaves nothing behind', async () => {
    const realm = await inside(AT)
    const [before] = await realm.asOwner(sql`select count(*) as n from freehold.users`)
    await move(people(2000, 2300), 'dry_run=true')
    expect(await realm.asOwner(sql`select count(*) as n from freehold.users`)).toEqual([before])
  })
})
