/** Threat: a use that is lost or counted twice, and a count that anybody can raise. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { decrypt } from '../../src/kernel/keyring.ts'
import { systemKeyOf } from '../../src/kernel/token.ts'
import { type Database, databaseOf, master, settings } from '../support/databases.ts'
import { call, operatorToken } from '../support/people.ts'
import { type KeyCast, keyCast, type Made } from './cast.ts'

let here: KeyCast
let database: Database
let robot: Made
beforeAll(async () => {
  here = await keyCast('counted')
  database = await databaseOf('counted')
  robot = await here.made(['unit:read', 'unit:create'])
})

const shown = async ({ id }: Made) => (await here.ask(`/api-keys/${id}`)).body
const counted = async (key: Made) => (await shown(key)).use_count
const until = { timeout: 60_000, interval: 100 }
/** How many batches were taken, of whichever isolate. */
const batches = async () =>
  (await here.realm.asOwner(sql`select coalesce(sum(batch), 0)::integer as n from access.key_counters`))[0]?.n

describe('the uses of a key', () => {
  it('are all counted, a few seconds later, in a few writes; the last one is remembered', async () => {
    const [before, had] = [await batches(), await counted(robot)]
    const from = Date.now()
    let left = 320
    const client = async () => {
      for (; left-- > 0; ) expect((await here.by(robot, '/units')).trips).toBe(1)
    }
    await Promise.all(Array.from({ length: 16 }, client))
    const took = Date.now() - from
    await expect.poll(() => counted(robot), until).toBe(had + 320)
    const last = Date.parse((await shown(robot)).last_used_at)
    expect(last).toBeGreaterThanOrEqual(from - 1_000)
    expect(last).toBeLessThanOrEqual(from + took + 1_000)
    expect((await batches()) - before).toBeLessThan(32)
  })

  it('are requests that were let in, whatever became of them: nothing else is a use', async () => {
    const key = await here.made(['unit:read', 'unit:create'])
    const unit = { kind: 'team', name: 'taken' }
    const answers = [
      await here.by(key, '/units'),
      await here.by(key, '/auth/whoami'),
      await here.by(key, `/units/${crypto.randomUUID()}`),
      await here.by(key, '/units', { body: unit }),
      await here.by(key, '/units', { body: unit }),
      await here.by(key, '/units', { body: { ...unit, name: 'other', parent_id: crypto.randomUUID() } }),
    ]
    const statuses = answers.map(({ status }) => status)
    expect(statuses.slice(0, 5)).toEqual([200, 200, 404, 201, 409])
    expect([400, 404]).toContain(statuses[5])
    const none = [
      await here.by(key, '/users'),
      await here.by(key, '/auth/logout', { method: 'POST' }),
      await here.by(`${key.key}x`, '/units'),
      await here.by(key, '/units', { body: {} }),
    ]
    expect(none.map(({ status }) => status)).toEqual([403, 403, 401, 400])
    await expect.poll(() => counted(key), until).toBe(6)
    // Whatever was still under way would be written by now.
    await here.by(key, '/units')
    await expect.poll(() => counted(key), until).toBe(7)
  })

  it('of several keys are counted apart', async () => {
    const keys = [await here.made(['unit:read']), await here.made(['unit:read']), await here.made(['unit:read'])]
    await Promise.all(keys.flatMap((key, i) => Array.from({ length: 3 * (i + 1) }, () => here.by(key, '/units'))))
    await expect.poll(() => Promise.all(keys.map(counted)), until).toEqual([3, 6, 9])
  })

  it('that cannot be written are kept, and written when they can', async () => {
    const key = await here.made(['unit:read'])
    const [{ system_hash } = {}] = await here.realm.asOwner(
      sql`select encode(system_hash, 'hex') as system_hash from access.secrets`,
    )
    await here.realm.asOwner(sql`update access.secrets set system_hash = sha256('another')`)
    for (let i = 0; i < 5; i++) await here.by(key, '/units')
    await new Promise((done) => setTimeout(done, 1_500))
    for (let i = 0; i < 4; i++) await here.by(key, '/units')
    expect(await counted(key)).toBe(0)
    await here.realm.asOwner(sql`update access.secrets set system_hash = decode(${system_hash}, 'hex')`)
    await expect.poll(() => counted(key), until).toBe(9)
  })

  it('of an operator’s key are counted in the master', async () => {
    const token = await operatorToken()
    const { id, key } = (await call('', '/platform/v1/api-keys', { token, body: { name: 'x', permissions: ['tenant:read'] } }))
      .body
    for (let i = 0; i < 7; i++) expect((await call('', '/platform/v1/tenants', { token: key })).status).toBe(200)
    const uses = async () => (await call('', `/platform/v1/api-keys/${id}`, { token })).body.use_count
    await expect.poll(uses, until).toBe(7)
    await call('', `/platform/v1/api-keys/${id}`, { token, method: 'DELETE' })
  })
})

describe('a batch', () => {
  const send = async (writer: string, batch: number, counts: object[]) => {
    const [row] = await master(sql`select refresh_key_encrypted from platform.tenants where id = ${database.id}`)
    const secret = await systemKeyOf(
      await decrypt(settings().ENCRYPTION_KEYS, database.id, 'refresh_key', row?.refresh_key_encrypted),
    )
    const [answer] = await database.asApp(
      sql`select access.count_key_uses(${database.id}, ${secret}, ${writer}, ${batch}, ${JSON.stringify(counts)}::jsonb) as taken`,
    )
    return answer?.taken
  }
  const now = () => new Date().toISOString()

  it('counts once, however often and in whatever order it is sent', async () => {
    const { id, prefix } = await here.made(['unit:read'])
    const [one, two] = [crypto.randomUUID(), crypto.randomUUID()]
    const counts = [{ prefix, uses: 5, last_used_at: now() }]
    expect(await Promise.all([1, 1, 1, 1].map((no) => send(one, no, counts)))).toEqual(
      expect.arrayContaining([true, false, false, false]),
    )
    expect(await send(one, 2, counts)).toBe(true)
    expect(await send(one, 1, counts)).toBe(false)
    expect(await send(two, 1, counts)).toBe(true)
    const [row] = await here.realm.asOwner(sql`select use_count::integer as n from freehold.api_keys where id = ${id}`)
    expect(row?.n).toBe(15)
  })

  it('of many isolates at once, each with the same keys in another order, waits for nobody for ever', async () => {
    const keys = [await here.made(['unit:read']), await here.made(['unit:read']), await here.made(['unit:read'])]
    const counts = keys.map(({ prefix }) => ({ prefix, uses: 1, last_used_at: now() }))
    const orders = [counts, counts.toReversed(), [counts[1], counts[0], counts[2]]] as object[][]
    const taken = await Promise.all(Array.from({ length: 24 }, (_, i) => send(crypto.randomUUID(), 1, orders[i % 3] ?? [])))
    expect(new Set(taken)).toEqual(new Set([true]))
    expect(await Promise.all(keys.map(counted))).toEqual([24, 24, 24])
  })

  it('moves the last use forward and never back, nor into the future', async () => {
    const key = await here.made(['unit:read'])
    const writer = crypto.randomUUID()
    const use = (last_used_at: string) => [{ prefix: key.prefix, uses: 1, last_used_at }]
    await send(writer, 1, use('2026-01-01T00:00:00Z'))
    const first = (await shown(key)).last_used_at
    await send(writer, 2, use('2025-01-01T00:00:00Z'))
    expect((await shown(key)).last_used_at).toBe(first)
    await send(writer, 3, use('2999-01-01T00:00:00Z'))
    expect(Date.parse((await shown(key)).last_used_at)).toBeLessThan(Date.now() + 60_000)
  })
})
