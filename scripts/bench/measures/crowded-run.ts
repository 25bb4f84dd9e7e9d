import { type SQL, sql } from 'drizzle-orm'
import { batch } from '../../../src/kernel/db.ts'
import type { Finding } from '../finding.ts'
import { LATER } from '../fleet.ts'
import { collectGarbage, heapMb } from '../heap.ts'
import { inspect } from '../inspector.ts'
import { ask } from '../load.ts'
import { ratios, spread } from '../samples.ts'
import { type Stage, siteOf } from '../stage.ts'
import { startWorkerd } from '../workerd.ts'
import { plantedTenants } from './planted.ts'

const GOAL_MB = 64
const GOAL_RESUMED_MS = 2_000
/** The run is stopped as often, as if everything was killed, and goes on. */
const PIECES = 10

/** A run over a large registry, whose tenants are done as soon as they are started: what the run itself costs. */
export async function crowdedRun(stage: Stage, before: string): Promise<Finding[]> {
  const { published, unpublished } = await plantedTenants(stage)
  const count = published.length + unpublished.length
  const settings = { ...stage.stack.env, BENCH_MIGRATIONS: JSON.stringify([{ name: 'tenant/9030_crowded', text: 'select 1' }]) }
  const workerd = await startWorkerd(stage.outdir, { main: settings }, true)
  const { MASTER_DATABASE_URL } = stage.main.config
  const master = async (statement: SQL) => (await batch(MASTER_DATABASE_URL, [statement]))[0] ?? []
  try {
    await master(
      sql`update platform.tenants set schema_version = case when subdomain like 'planted-%' then ${before} else ${LATER} end
          where schema_version is not null or subdomain like 'planted-%'`,
    )
    const site = siteOf(workerd, 'main', settings)
    const inspector = await inspect(workerd.inspector)
    const heap = async () => {
      await collectGarbage(inspector, () => ask(site.at(null, '/bench/bare')))
      return heapMb(inspector)
    }
    const took = async (path: string) => {
      const started = performance.now()
      await ask(site.at(null, path, { method: 'POST' }))
      return performance.now() - started
    }
    const begun = await took('/bench/begin')
    const heaps = [await heap()]
    const [each, resumed]: [number[], number[]] = [[], []]
    const most = Math.floor(count / PIECES)
    for (let piece = 1; piece <= PIECES; piece++) {
      each.push((await took(`/bench/fleet?most=${most}`)) / most)
      const [left] = await master(sql`select count(*)::integer as n from platform.tenant_migrations where state = 'pending'`)
      stage.say(`migrations: ${(piece * most).toLocaleString('en')} of ${count.toLocaleString('en')} rows, ${left?.n} are left.`)
      if (piece === PIECES / 2 || piece === PIECES) heaps.push(await heap())
      if (piece === PIECES) break
      const letGo = () => master(sql`update platform.tenant_migrations set lease_until = now() where state = 'running'`)
      await letGo()
      resumed.push(await took('/bench/fleet?most=0'))
      await letGo()
    }
    const [run] = await master(sql`select state from platform.migration_runs order by created_at desc limit 1`)
    if (run?.state !== 'done') throw new Error(`The run over ${count} tenants is ${run?.state}.`)
    await inspector.close()
    return found(count, { begun, each, resumed, heaps })
  } finally {
    await workerd.stop()
  }
}

type Took = { begun: number; each: number[]; resumed: number[]; heaps: number[] }

function found(count: number, { begun, each, resumed, heaps }: Took): Finding[] {
  const many = count.toLocaleString('en')
  const half = PIECES / 2
  const of = (label: string, values: number[], unit: 'ms' | 'MB') => ({ label, value: spread(values), unit })
  return [
    {
      title: `A run over ${many} tenants, each of the second half / each of the first`,
      value: ratios(each.slice(half), each.slice(0, half)),
      unit: 'x',
      goal: 1.25,
      parts: [
        of('each of the first half', each.slice(0, half), 'ms'),
        of('each of the second half', each.slice(half), 'ms'),
        of('beginning the run', [begun], 'ms'),
      ],
      note: 'The Workflow has a stand-in that records a tenant as done at once and goes on with the run as the Workflow does; ten at once.',
    },
    {
      title: `First tenants of a run over ${many} that goes on after everything was killed`,
      value: spread(resumed),
      unit: 'ms',
      goal: GOAL_RESUMED_MS,
      parts: [],
      note: 'From the request until ten tenants are started, once the leases of those that were killed have run out (three minutes).',
    },
    {
      title: `Heap of the isolate after a run over ${many} tenants`,
      value: spread(heaps.slice(-1)),
      unit: 'MB',
      goal: GOAL_MB,
      parts: [
        of('when the run was begun', heaps.slice(0, 1), 'MB'),
        of('in its middle', heaps.slice(1, 2), 'MB'),
        of('at its end', heaps.slice(-1), 'MB'),
      ],
      note: 'By the inspector, after a collection.',
    },
  ]
}
