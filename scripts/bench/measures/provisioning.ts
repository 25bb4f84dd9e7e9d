import { Client } from 'pg'
import type { Finding, Measure } from '../finding.ts'
import { send } from '../load.ts'
import { inTurns, ratios, spread } from '../samples.ts'
import type { Stage } from '../stage.ts'

const TEMPLATE = 'bench_template'

/** Making a tenant, against a copy of a finished database, one hash, and an empty Workflow of as many steps. */
export const provisioning: Measure = {
  name: 'provisioning',
  async run(stage) {
    const { main, quick } = stage
    const postgres = new Client({ connectionString: stage.stack.neon.postgresUrl })
    await postgres.connect()
    try {
      await makeTemplate(postgres)
      const token = await stage.operatorToken()
      const parts = { copy: [] as number[], hash: [] as number[], workflow: [] as number[] }
      let made = 0
      const floor = async () => {
        const copy = await time(() => postgres.query(`create database bench_copy template ${TEMPLATE}`))
        const hash = (await send(main.at(null, '/bench/hash', { body: { password: 'Tr0ub4dor-and-3' } }))).ms
        const workflow = (await send(main.at(null, '/bench/workflow?poll=5', { method: 'POST' }))).ms
        await postgres.query('drop database bench_copy')
        parts.copy.push(copy)
        parts.hash.push(hash)
        parts.workflow.push(workflow)
        return copy + hash + workflow
      }
      const things = { floor, tenant: () => time(() => stage.makeTenant(`bench-${made++}`, token)) }
      await inTurns(1, things)
      for (const values of Object.values(parts)) values.length = 0
      const took = await inTurns(quick ? 3 : 12, things)
      return [finding(took, parts, await steps(stage, postgres))]
    } finally {
      await postgres.end()
    }
  },
}

const finding = (
  took: { floor: number[]; tenant: number[] },
  parts: { copy: number[]; hash: number[]; workflow: number[] },
  steps: [string, number[]][],
): Finding => ({
  title: 'A tenant / copy + hash + empty Workflow',
  value: ratios(took.tenant, took.floor),
  unit: 'x',
  goal: 2.5,
  parts: [
    ['CREATE DATABASE ... TEMPLATE of a finished tenant', parts.copy] as const,
    ['one hash', parts.hash] as const,
    ['an empty Workflow of as many steps', parts.workflow] as const,
    ['POST /platform/v1/tenants until it is active', took.tenant] as const,
    ...steps.map(([name, values]) => [`step ${name}`, values] as const),
  ].map(([label, values]) => ({ label, value: spread(values), unit: 'ms' as const })),
  note: "Wall time. The local Neon's operations take no time of their own here; Neon's own do, and are not ours.",
})

async function time(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now()
  await work()
  return performance.now() - started
}

/** A copy of the stage's tenant, whose connections are ended first: Postgres does not copy a database in use. */
async function makeTemplate(postgres: Client): Promise<void> {
  const { rows } = await postgres.query<{ datname: string }>(
    `select datname from pg_database where datname like '%freehold\\_acme'`,
  )
  const name = rows[0]?.datname
  if (!name) throw new Error('The database of the tenant was not found in the cluster.')
  await postgres.query('select pg_terminate_backend(pid) from pg_stat_activity where datname = $1', [name])
  await postgres.query(`create database ${TEMPLATE} template "${name}"`)
}

/** How long each step of the measured tenants took, as the master recorded it. */
async function steps(stage: Stage, postgres: Client): Promise<[string, number[]][]> {
  const { rows } = await postgres.query<{ datname: string }>(
    `select datname from pg_database where datname like '%freehold\\_master'`,
  )
  const url = new URL(stage.stack.neon.postgresUrl)
  url.pathname = `/${rows[0]?.datname ?? ''}`
  const master = new Client({ connectionString: url.href })
  await master.connect()
  try {
    const { rows: found } = await master.query<{ name: string; ms: number[] }>(
      `select s.name, array_agg(extract(epoch from s.finished_at - s.started_at)::float8 * 1000) as ms
       from platform.provisioning_steps s join platform.tenants t on t.id = s.tenant_id
       where t.subdomain like 'bench-%' and s.name <> 'reserve' group by s.name order by min(s.position)`,
    )
    return found.map(({ name, ms }) => [name, ms])
  } finally {
    await master.end()
  }
}
