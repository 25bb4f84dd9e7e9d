import { type SQL, sql } from 'drizzle-orm'
import { batch } from '../../../src/kernel/db.ts'
import type { SqlFile } from '../../../src/tenants/provisioning/migrations.ts'
import { migrationsIn } from '../../dev/stack.ts'
import type { Finding, Measure } from '../finding.ts'
import { type Copy, definitionsText, direct, LATER, makeFleet } from '../fleet.ts'
import { ask, send } from '../load.ts'
import { ratios, spread } from '../samples.ts'
import { type Site, type Stage, siteOf } from '../stage.ts'
import { startWorkerd } from '../workerd.ts'

const FEW = 20
const MANY = 200
const AT_ONCE = 10
const LOOK_MS = 100

/** Runs that take tenants to a new schema: what each tenant costs, and whether many cost more. */
export const migrations: Measure = {
  name: 'migrations',
  async run(stage) {
    const rounds = stage.quick ? 1 : 3
    const before = (await migrationsIn('tenant')).at(-1)?.name ?? ''
    const text = definitionsText()
    const added: SqlFile[] = [
      ...Array.from({ length: rounds }, (_, n) => ({ name: `tenant/900${n}_nothing`, text: 'select 1' })),
      ...Array.from({ length: rounds }, (_, n) => ({ name: `tenant/901${n}_definitions`, text })),
    ]
    const settings = added.map((_, n): [string, Record<string, string>] => [
      `release-${n}`,
      { ...stage.stack.env, BENCH_MIGRATIONS: JSON.stringify(added.slice(0, n + 1)) },
    ])
    const workerd = await startWorkerd(stage.outdir, Object.fromEntries(settings))
    try {
      const fleet = await makeFleet(stage, FEW + MANY)
      stage.say(`${fleet.length} databases are copied.`)
      const took = { few: [], many: [], definitions: [], nothingFloor: [], definitionsFloor: [], workflow: [] } as Took
      const [few, many] = [fleet.slice(0, FEW), fleet.slice(FEW)]
      let schema = before
      for (const [n, [name, env]] of settings.entries()) {
        const site = siteOf(workerd, name, env)
        const migration = added[n] as SqlFile
        const is_definitions = n >= rounds
        const floor = await bare(stage, few, { name: `bench/${n}`, text: migration.text })
        ;(is_definitions ? took.definitionsFloor : took.nothingFloor).push(floor)
        took.workflow.push(await workflow(site))
        ;(is_definitions ? took.definitions : took.few).push(await migrated(stage, site, few, schema))
        if (!is_definitions) took.many.push(await migrated(stage, site, many, schema))
        stage.say(`migrations: ${migration.name} is applied.`)
        schema = migration.name
      }
      return findings(took)
    } finally {
      await workerd.stop()
    }
  },
}

type Took = Record<'few' | 'many' | 'definitions' | 'nothingFloor' | 'definitionsFloor' | 'workflow', number[]>

const part = (label: string, values: number[], unit: 'ms' | 'x' = 'ms') => ({ label, value: spread(values), unit })

const findings = (took: Took): Finding[] => [
  {
    title: `A migration with nothing in it, each of ${FEW} tenants`,
    value: spread(took.few),
    unit: 'ms',
    goal: 50,
    parts: [
      part('the same in a bare transaction', took.nothingFloor),
      { label: 'of that', value: ratios(took.few, took.nothingFloor), unit: 'x' },
      part('an empty Workflow of as many steps', took.workflow),
    ],
    note: `The time of a run, by the clock of the master, divided by its tenants; ${AT_ONCE} at once, in waves of 1, 1, 3 and the rest. 50 ms are 20 tenants a second. The bare transaction is of one connection to the tenant's database, which is opened for it, one tenant after another.`,
  },
  {
    title: `A migration with nothing in it, each of ${MANY} tenants / each of ${FEW}`,
    value: ratios(took.many, took.few),
    unit: 'x',
    goal: 1.25,
    parts: [part(`each of ${FEW}`, took.few), part(`each of ${MANY}`, took.many)],
    note: 'As before.',
  },
  {
    title: `A migration that makes every function again, each of ${FEW} tenants`,
    value: spread(took.definitions),
    unit: 'ms',
    goal: 200,
    parts: [
      part('the same in a bare transaction', took.definitionsFloor),
      { label: 'of that', value: ratios(took.definitions, took.definitionsFloor), unit: 'x' },
    ],
    note: 'The functions are those of this release. 200 ms are 5 tenants a second.',
  },
]

/** Runs one migration over tenants, which have the schema before it, while no other tenant is behind. Milliseconds for each. */
async function migrated({ main, operatorToken }: Stage, site: Site, tenants: Copy[], schema: string): Promise<number> {
  const ids = JSON.stringify(tenants.map(({ id }) => id))
  const master = async (statement: SQL) => (await batch(main.config.MASTER_DATABASE_URL, [statement]))[0] ?? []
  await master(
    sql`update platform.tenants t set schema_version = case when t.id in (select jsonb_array_elements_text(${ids}::jsonb)::uuid) then ${schema} else ${LATER} end
        where t.schema_version is not null or t.id in (select jsonb_array_elements_text(${ids}::jsonb)::uuid)`,
  )
  const headers = { Authorization: `Bearer ${await operatorToken()}` }
  const { id } = await ask<{ id: string }>(
    site.at(null, '/platform/v1/migrations', { headers, body: { rest: 'now', concurrency: AT_ONCE } }),
  )
  for (;;) {
    const [run] = await master(
      sql`select r.state, r.reason, extract(epoch from r.finished_at - r.created_at)::float8 * 1000 as ms,
            (select count(*) from platform.tenant_migrations m where m.run_id = r.id and m.state = 'done')::integer as done,
            (select min(m.error) from platform.tenant_migrations m where m.run_id = r.id) as error
          from platform.migration_runs r where r.id = ${id}`,
    )
    if (run?.state === 'done' && run.done === tenants.length) return Number(run.ms) / tenants.length
    if (run?.state !== 'running') throw new Error(`A run ended otherwise than it should: ${JSON.stringify(run)}`)
    await new Promise((done) => setTimeout(done, LOOK_MS))
  }
}

/** The same text and ledger row in a transaction of each database, one after another. Milliseconds for each. */
async function bare(stage: Stage, tenants: Copy[], { name, text }: SqlFile): Promise<number> {
  const started = performance.now()
  for (const { database } of tenants)
    await direct(stage, database, async (client) => {
      await client.query('begin')
      await client.query('set local role freehold_owner')
      await client.query('insert into freehold.migrations (name) values ($1)', [name])
      await client.query(text)
      await client.query('commit')
    })
  return (performance.now() - started) / tenants.length
}

/** An empty Workflow of the two steps that a tenant's migration takes. */
const workflow = async (site: Site) => (await send(site.at(null, '/bench/workflow?poll=5&steps=2', { method: 'POST' }))).ms
