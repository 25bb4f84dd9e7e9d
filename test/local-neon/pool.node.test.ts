/**
 * The connections behind SQL over HTTP, by the rules of Neon's proxy. Threat: a local Neon that keeps a connection for everybody makes a
 * host with two hundred tenants look fast, which in production is not.
 */
import { Client } from 'pg'
import { describe, expect, test } from 'vitest'
import { at, sqlOf, started } from './started.ts'

const IDLE = 20
/** What a compute of 0.25 CU takes. */
const USABLE = 97

const { state, newProject, ask, settled } = started()

/** How many connections to databases of a name are open, as the cluster sees it. */
async function open(like: string): Promise<number> {
  const client = new Client(state.postgresUrl)
  await client.connect()
  try {
    const { rows } = await client.query('select count(*)::int as n from pg_stat_activity where datname like $1', [like])
    return rows[0].n
  } finally {
    await client.end()
  }
}

const times = <T>(n: number, make: (i: number) => Promise<T>) => Promise.all(Array.from({ length: n }, (_, i) => make(i)))
const backend = (uri: string) => async () => (await sqlOf(uri)`select pg_backend_pid() as pid, pg_sleep(0.3)`)[0]?.pid

/** A project with more databases, and how to connect to each. */
async function withDatabases(prefix: string, count: number) {
  const project = await newProject()
  for (let i = 0; i < count; i++) {
    const database = { name: `${prefix}_${i}`, owner_name: 'neondb_owner' }
    expect((await ask('POST', `${project.branch}/databases`, { database })).status).toBe(201)
    await settled(project.id)
  }
  return Array.from({ length: count }, (_, i) => at(project.uri, `${prefix}_${i}`))
}

describe('an endpoint', () => {
  test('keeps twenty connections of those that became free, and closes the others', async () => {
    const [uri = ''] = await withDatabases('kept', 1)
    expect(new Set(await times(60, backend(uri))).size).toBeGreaterThan(IDLE)
    await expect.poll(() => open('kept_0'), { timeout: 5_000 }).toBe(IDLE)
  })

  test('keeps them for all its databases together: while twenty are kept, those of another database are opened each time', async () => {
    const [busy = '', other = ''] = await withDatabases('mixed', 2)
    await times(40, backend(busy))
    await expect.poll(() => open('mixed_0'), { timeout: 5_000 }).toBe(IDLE)
    const pids = []
    for (let i = 0; i < 5; i++) {
      pids.push(await backend(other)())
      await expect.poll(() => open('mixed_1'), { timeout: 5_000 }).toBe(0)
    }
    expect(new Set(pids).size).toBe(5)
    expect(await open('mixed_0'), 'none of them made room').toBe(IDLE)
  })

  test('uses a kept one again where there is room for it', async () => {
    const [uri = ''] = await withDatabases('again', 1)
    const pid = await backend(uri)()
    await expect.poll(() => open('again_0'), { timeout: 5_000 }).toBe(1)
    await new Promise((done) => setTimeout(done, 50))
    expect(await backend(uri)()).toBe(pid)
  })

  test('refuses what its compute has no connection for, in Postgres’ words', async () => {
    const [uri = ''] = await withDatabases('full', 1)
    const slow = () => sqlOf(uri)`select pg_sleep(1)`.then(() => 'answered', String)
    const answers = await times(USABLE + 20, slow)
    expect(answers.filter((said) => said === 'answered')).toHaveLength(USABLE)
    expect(answers.find((said) => said !== 'answered')).toMatch(/remaining connection slots are reserved/)
    expect(await slow()).toBe('answered')
  })

  test('takes as many as its size bears', async () => {
    const { body, uri } = await newProject({ default_endpoint_settings: { autoscaling_limit_min_cu: 0.5 } })
    expect(body.endpoints[0].autoscaling_limit_min_cu).toBe(0.5)
    const answers = await times(150, () => sqlOf(uri)`select pg_sleep(1)`.then(() => 'answered', String))
    expect(answers.filter((said) => said !== 'answered')).toEqual([])
  })
})
