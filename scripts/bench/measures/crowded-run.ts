import { type SQL, sql } from 'drizzle-orm'
import { batch } from '../../../src/kernel/db.ts'
import { migrationsIn } from '../../dev/stack.ts'
import type { Finding, Measure } from '../finding.ts'
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
/** How many times as many tenants as in the smaller run. */
const TIMES = 10

/** A run over a large registry, whose tenants are done as soon as they are started: what the run itself costs. */
export const crowdedRun: Measure = { name: 'crowded-run', run: crowded }

async function crowded(stage: Stage): Promise<Finding[]> {
  const before = (await migrationsIn('tenant')).at(-1)?.name
  const { published, unpublished } = await plantedTenants(stage)
  const count = published.length + unpublished.length
  const settings = { ...stage.stack.env, BENCH_MIGRATIONS: JSON.stringify([{ name: 'tenant/9030_crowded', text: 'select 1' }]) }
  const workerd = await startWorkerd(stage.outdir, { main: settings }, true)
  const { MASTER_DATABASE_URL } = stage.main.config
  const master = async (statement: SQL) => (await batch(MASTER_DATABASE_URL, [statement]))[0] ?? []
  /** Of the planted tenants that many are behind, and no other is. */
  const behind = (many: number) =>
    master(
      sql`update platform.tenants t set schema_version = case when p.subdomain is null then ${LATER} else ${before} end
          from platform.tenants o left join (select subdomain from platform.tenants where subdomain like 'planted-%' order by subdomain limit ${many}) p on p.subdomain = o.subdomain
          where o.id = t.id and (t.schema_version is not null or t.subdomain like 'planted-%')`,
    )
  try {
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
    const letGo = () => master(sql`update platform.tenant_migrations set lease_until = now() where state = 'running'`)
    /** A whole run. Milliseconds of each tenant, piece by piece; how long it took to begin it, and to start the first of each piece. */
    const wholeRun = async (many: number) => {
      await behind(many)
      const run: Run = { begun: await took('/bench/begin'), each: [], resumed: [], heaps: [await heap()] }
      const most = Math.floor(many / PIECES)
      for (let piece = 1; piece <= PIECES; piece++) {
        if (piece > 1) run.resumed.push(await took('/bench/fleet?most=0'))
        await letGo()
        run.each.push((await took(`/bench/fleet?most=${most}`)) / most)
        await letGo()
        if (piece === PIECES / 2 || piece === PIECES) run.heaps.push(await heap())
      }
      const [last] = await master(sql`select state from platform.migration_runs order by created_at desc limit 1`)
      if (last?.state !== 'done') throw new Error(`The run over ${many} tenants is ${last?.state}.`)
      stage.say(`migrations: a run over ${many.toLocaleString('en')} is over.`)
      return run
    }
    const few = await wholeRun(count / TIMES)
    const all = await wholeRun(count)
    await inspector.close()
    return found(count, few, all)
  } finally {
    await workerd.stop()
  }
}

type Run = Record<'each' | 'resumed' | 'heaps', number[]> & { begun: number }

function found(count: number, few: Run, { begun, each, resumed, heaps }: Run): Finding[] {
  const [many, some] = [count, count / TIMES].map((number) => number.toLocaleString('en'))
  const of = (label: string, values: number[], unit: 'ms' | 'MB') => ({ label, value: spread(values), unit })
  return [
    {
      title: `A run over ${many} tenants, each / each of ${some}`,
      value: ratios(each, few.each),
      unit: 'x',
      goal: 1.25,
      parts: [
        of(`each of ${some}`, few.each, 'ms'),
        of(`each of ${many}`, each, 'ms'),
        of(`beginning the run over ${many}`, [begun], 'ms'),
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
