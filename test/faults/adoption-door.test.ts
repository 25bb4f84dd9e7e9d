/**
 * Threat: the master is away, or its answer is lost, while an operator asks for an adoption, and the database is adopted twice, half, or by
 * nobody who knows of it. Each request that the door makes is spoiled in turn; then the operator asks once more, as clients do.
 */
import { introspectWorkflow } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { resumeStale } from '../../src/tenants/provisioning/provisioning.ts'
import { type Answering, BROKEN, GATEWAY, spoiled } from '../support/answers.ts'
import { master, settings } from '../support/databases.ts'
import { findingsOf } from '../support/doctor.ts'
import { bothSides, ended, pending, rememberLeft, switchOn, WHOLE, whole } from '../support/faults.ts'
import { type Answer, call, newRuc, operatorToken, wanted } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { changePassword, orphaned, type Stranger, strangersDatabase } from '../support/stranger.ts'

beforeAll(rememberLeft, 60_000)

const FAULTS: [string, Answering][] = [
  ['is lost after the work was done', { kind: 'drop_after' }],
  ['does not arrive', { kind: 'drop_before' }],
  ['is answered by a proxy', GATEWAY],
  ['is refused, because the master is away', BROKEN],
]
/** What the door asks of databases, in order. */
const EMPTY = ['the admission', 'the look at the platform’s hosts', 'the inspection', 'the reservation']
const TAKEN_OVER = [
  ...EMPTY.slice(0, 3),
  'the look at its ledger',
  'the look at its tenant',
  'the look whether the tenant is known',
  'the reservation',
]

let introspector: Awaited<ReturnType<typeof introspectWorkflow>>
let token: string
let n = 0
beforeAll(async () => {
  introspector = await introspectWorkflow(env.PROVISIONING)
  await introspector.modifyAll((modifier) => modifier.disableRetryDelays())
  token = await operatorToken()
}, 60_000)
afterEach(() => switchOn())
afterAll(() => introspector.dispose())

/** Spoils the request of a database that has this number, from 0 on. */
const spoil = (at: number, fault: Answering) => switchOn(...spoiled(at, 0, 1, fault).filter(({ times }) => times > 0))

/** Asks for an adoption with an Idempotency-Key, as often as it is called. */
function adopting(name: string, connection_string: string, more: object = {}): () => Promise<Answer> {
  const body = { ...wanted(name, { tax_id: newRuc() }), connection_string, ...more }
  const key = crypto.randomUUID()
  return () => call('', '/platform/v1/tenants/adopt', { token, body, headers: { 'Idempotency-Key': key } })
}

const tenantsOf = (name: string) =>
  master(
    sql`select t.id, t.status, (select count(*)::integer from platform.hosts h where h.name like '%' || t.id) as hosts,
          (select count(*)::integer from platform.provisioning_runs r where r.tenant_id = t.id) as runs from platform.tenants t where t.subdomain = ${name}`,
  )

/** Waits until a tenant is made: by the run that was started, or by that of the scheduled job once its lease has run out. */
async function made(name: string): Promise<void> {
  const newest = async () =>
    (
      await master(
        sql`select r.id, r.state from platform.provisioning_runs r join platform.tenants t on t.id = r.tenant_id where t.subdomain = ${name} order by r.attempt desc limit 1`,
      )
    )[0]
  const first = await newest()
  if (!(await env.PROVISIONING.get(`prov-${first?.id}`).catch(() => null))) {
    await master(sql`update platform.provisioning_runs set lease_until = now() - interval '1 second' where id = ${first?.id}`)
    await resumeStale(env as never, settings())
  }
  await ended(String((await newest())?.id))
}

/** The fault happened, and whoever asked was told to come again, in words that say nothing of what is inside. */
async function expectAway(answer: Answer): Promise<void> {
  expect(await pending(), 'the fault happened').toEqual([])
  expectProblem(answer, 503, 'database_unavailable')
  expect(answer.headers.get('Retry-After')).toMatch(/^[1-9]\d*$/)
  expect(JSON.stringify(answer.body)).not.toMatch(/select |insert |127\.0\.0\.1|postgresql:/)
}

describe.each(FAULTS)('when a request of the door %s', (_, fault) => {
  it.each(EMPTY)('%s: asking again adopts the database, once', { timeout: 60_000 }, async (what) => {
    const name = `door-${++n}`
    const shop = await strangersDatabase(name)
    const ask = adopting(name, shop.url)
    await spoil(EMPTY.indexOf(what), fault)
    await expectAway(await ask())
    const is_made = what === 'the reservation' && fault.kind === 'drop_after'
    expect(await tenantsOf(name), 'nothing is half there').toMatchObject(
      is_made ? [{ status: 'provisioning', hosts: 1, runs: 1 }] : [],
    )
    expect(await shop.asOwner(sql`select nspname from pg_namespace where nspname in ('freehold', 'access')`)).toEqual([])
    const again = await ask()
    expect(again.status, JSON.stringify(again.body)).toBe(202)
    const [{ id } = {}] = await tenantsOf(name)
    expect(again.body.id).toBe(id)
    expectProblem(await adopting(`${name}-other`, shop.url)(), 409, 'already_exists')
    await made(name)
    expect(await whole(name)).toEqual({ ...WHOLE, subdomain: name })
    expect(await tenantsOf(name)).toMatchObject([{ id, status: 'active', hosts: 1 }])
  })
})

describe('when a tenant of another deployment is taken over', () => {
  let found: Awaited<ReturnType<typeof orphaned>>
  beforeAll(async () => {
    found = await orphaned('door-taken', 'door-former')
  }, 60_000)

  it.each(TAKEN_OVER)(
    'and %s is lost, nothing of it changes, and asking again takes it, once',
    { timeout: 60_000 },
    async (what) => {
      const name = `door-${++n}`
      const { shop, id } = found
      const keys = sql`select encode(sha256(inner_key), 'hex') as key from access.secrets`
      const inside = () => shop.asOwner(sql`set local role freehold_owner`, keys)
      const before = await inside()
      const ask = adopting(name, shop.url, { take_over: true, admin_email: 'bo@acme.test', admin_password: undefined })
      await spoil(TAKEN_OVER.indexOf(what), { kind: 'drop_before' })
      await expectAway(await ask())
      expect([await tenantsOf(name), await inside()]).toEqual([[], before])
      if (what !== 'the reservation') return
      // The last of them: this time its answer is lost, and the tenant is reserved.
      await spoil(TAKEN_OVER.indexOf(what), { kind: 'drop_after' })
      await expectAway(await ask())
      const again = await ask()
      expect([again.status, again.body.id], JSON.stringify(again.body)).toEqual([202, id])
      await made(name)
      expect(await whole(name)).toMatchObject({ status: 'active', users: 1, subdomain: name })
      expect(await inside()).not.toEqual(before)
    },
  )
})

describe('when a new connection string is given', () => {
  const STEPS = ['the look at the tenant', 'the inspection', 'the look at its ledger', 'the look at its tenant', 'the change']

  it.each(STEPS)(
    'and %s is lost, the former one or the new one is kept, and giving it again keeps the new one',
    {
      timeout: 60_000,
    },
    async (what) => {
      const name = `door-${++n}`
      const shop: Stranger = await strangersDatabase(name)
      const answer = await adopting(name, shop.url)()
      await made(name)
      const { id } = answer.body
      const put = async (connection_string: string) =>
        call('', `/platform/v1/tenants/${id}/connection-string`, { method: 'PUT', token, body: { connection_string } })
      const url = await changePassword(shop)
      for (const fault of [{ kind: 'drop_after' }, GATEWAY] satisfies Answering[]) {
        await spoil(STEPS.indexOf(what), fault)
        await expectAway(await put(url))
      }
      const given = await put(url)
      expect([given.status, given.body.database_error], JSON.stringify(given.body)).toEqual([200, null])
      expect(await tenantsOf(name)).toMatchObject([{ status: 'active', hosts: 1 }])
    },
  )
})

it('nothing is there twice or left over, and the doctor finds nothing', async () => {
  const { neon, known } = await bothSides('door-')
  expect(neon).toEqual(known)
  expect(await findingsOf('door-')).toEqual([])
})
