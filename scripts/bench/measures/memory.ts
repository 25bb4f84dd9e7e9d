import type { Measure } from '../finding.ts'
import { load } from '../load.ts'
import { publish } from '../registry.ts'
import { spread } from '../samples.ts'
import { siteOf } from '../stage.ts'
import { startWorkerd } from '../workerd.ts'
import { plantedTenants } from './planted.ts'

const MARKS = 5

/**
 * Resident memory of a workerd that serves the keys of many tenants, very often. First it answers a bare route as often: the
 * growth of a workerd until its heap is warm is not counted.
 */
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
      const bare = () => site.at(null, '/bench/bare')
      const many = (i: number) => site.at(published[i % published.length]?.subdomain ?? null, '/.well-known/jwks.json')
      const parts: { label: string; mb: number }[] = [{ label: 'at first', mb: await workerd.residentMb() }]
      for (const [name, target] of Object.entries({ 'a bare route': bare, [`${published.length} tenants`]: many })) {
        for (let mark = 1; mark <= MARKS; mark++) {
          await load(each, 16, target)
          parts.push({ label: `after ${(mark * each).toLocaleString('en')} of ${name}`, mb: await workerd.residentMb() })
          say(`memory: ${parts.at(-1)?.label}: ${parts.at(-1)?.mb.toFixed(0)} MB`)
        }
      }
      const count = (MARKS * each).toLocaleString('en')
      return [
        {
          title: `Memory of workerd after ${count} requests over ${published.length.toLocaleString('en')} tenants / after ${count} of a bare route`,
          value: spread([(parts.at(-1)?.mb ?? 0) / (parts[MARKS]?.mb ?? 0)]),
          unit: 'x',
          goal: 1.1,
          parts: parts.map(({ label, mb }) => ({ label, value: spread([mb]), unit: 'MB' as const })),
          note: 'Resident memory of the whole process, with the KV of the local runtime in it. Flat is taken as at most 1.1x.',
        },
      ]
    } finally {
      await workerd.stop()
    }
  },
}
