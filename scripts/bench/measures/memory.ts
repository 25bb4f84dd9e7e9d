import type { Measure } from '../finding.ts'
import { load } from '../load.ts'
import { publish } from '../registry.ts'
import { spread } from '../samples.ts'
import { siteOf } from '../stage.ts'
import { startWorkerd } from '../workerd.ts'
import { plantedTenants } from './planted.ts'

const MARKS = 5
/** Marks that count as warming up. */
const WARM = 2

/** Resident memory of a workerd that does nothing else, while it is asked for the keys of many tenants, very often. */
export const memory: Measure = {
  name: 'memory',
  async run(stage) {
    const { outdir, stack, quick, say } = stage
    const { published } = await plantedTenants(stage)
    const each = quick ? 1_000 : 20_000
    const workerd = await startWorkerd(outdir, { main: stack.env })
    try {
      const site = siteOf(workerd, 'main', stack.env)
      await publish(site, published)
      const resident = [await workerd.residentMb()]
      for (let mark = 1; mark <= MARKS; mark++) {
        await load(each, 16, (i) => site.at(published[i % published.length]?.subdomain ?? null, '/.well-known/jwks.json'))
        resident.push(await workerd.residentMb())
        say(`memory: ${(mark * each).toLocaleString('en')} requests, ${resident.at(-1)?.toFixed(0)} MB`)
      }
      const count = (marks: number) => (marks * each).toLocaleString('en')
      return [
        {
          title: `Memory of workerd after ${count(MARKS)} requests over ${published.length.toLocaleString('en')} tenants / after ${count(WARM)}`,
          value: spread([(resident[MARKS] ?? 0) / (resident[WARM] ?? 0)]),
          unit: 'x',
          goal: 1.1,
          parts: resident.map((value, mark) => ({ label: `after ${count(mark)}`, value: spread([value]), unit: 'MB' as const })),
          note: 'Resident memory of the whole process, with the KV of the local runtime in it. Flat is taken as at most 1.1x.',
        },
      ]
    } finally {
      await workerd.stop()
    }
  },
}
