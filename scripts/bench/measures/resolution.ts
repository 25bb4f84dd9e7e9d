import type { Finding, Measure } from '../finding.ts'
import { ask, load } from '../load.ts'
import { type Planted, plant, publish } from '../registry.ts'
import { inTurns, ratios, spread } from '../samples.ts'
import type { Site } from '../stage.ts'
import { plantedTenants } from './planted.ts'

const FEW = 100
const ASKED = 40

/** Which tenant a request is for, with an empty memory: a registry of very many tenants against one of a hundred. */
export const resolution: Measure = {
  name: 'resolution',
  async run(stage) {
    const { main, small, quick } = stage
    const many = await plantedTenants(stage)
    const few = await plant(small.config, FEW)
    await publish(small, few.slice(0, FEW / 2))
    const things = {
      fewKv: cold(small, few.slice(0, FEW / 2)),
      manyKv: cold(main, many.published),
      fewMaster: cold(small, few.slice(FEW / 2)),
      manyMaster: cold(main, many.unpublished),
    }
    await inTurns(3, things)
    const took = await inTurns(quick ? 8 : 30, things)
    const count = many.published.length + many.unpublished.length
    const finding = (where: string, above: number[], below: number[], note: string): Finding => ({
      title: `Resolution, ${count.toLocaleString('en')} tenants / ${FEW}, cold, ${where}`,
      value: ratios(above, below),
      unit: 'x',
      goal: 1.5,
      parts: [
        { label: `${FEW} tenants`, value: spread(below), unit: 'ms' },
        { label: `${count.toLocaleString('en')} tenants`, value: spread(above), unit: 'ms' },
      ],
      note,
    })
    return [
      finding(
        'from KV',
        took.manyKv,
        took.fewKv,
        `Wall time of jwks.json; KV is Miniflare's, with ${many.published.length} and ${FEW / 2} entries.`,
      ),
      finding('from the master', took.manyMaster, took.fewMaster, 'Wall time of jwks.json; KV does not have the tenant.'),
    ]
  },
}

/** Milliseconds of one resolution: a few random tenants, after the Worker's memory was emptied. */
const cold = (site: Site, tenants: Planted[]) => async () => {
  await ask(site.at(null, '/bench/forget', { method: 'POST' }))
  const chosen = shuffled(tenants).slice(0, ASKED)
  return spread(await load(chosen.length, 1, (i) => site.at(chosen[i]?.subdomain ?? null, '/.well-known/jwks.json'))).median
}

function shuffled<T>(list: T[]): T[] {
  return list
    .map((item) => ({ item, at: Math.random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item)
}
