import type { Measure } from '../finding.ts'
import { load } from '../load.ts'
import { spread } from '../samples.ts'
import { plantedTenants } from './planted.ts'

const MARKS = 5

/** Resident memory of workerd while it is asked for the keys of many tenants, very often. */
export const memory: Measure = {
  name: 'memory',
  async run(stage) {
    const { main, workerd, quick, say } = stage
    const { published } = await plantedTenants(stage)
    const each = quick ? 1_000 : 20_000
    const first = await workerd.residentMb()
    const resident: number[] = []
    for (let mark = 1; mark <= MARKS; mark++) {
      await load(each, 16, (i) => main.at(published[i % published.length]?.subdomain ?? null, '/.well-known/jwks.json'))
      resident.push(await workerd.residentMb())
      say(`memory: ${(mark * each).toLocaleString('en')} requests, ${resident.at(-1)?.toFixed(0)} MB`)
    }
    const last = resident.at(-1) ?? 0
    const total = (MARKS * each).toLocaleString('en')
    return [
      {
        title: `Memory of workerd after ${total} requests over ${published.length.toLocaleString('en')} tenants / after a fifth of them`,
        value: spread([last / (resident[0] ?? 0)]),
        unit: 'x',
        goal: 1.1,
        parts: [
          { label: 'before the first', value: spread([first]), unit: 'MB' },
          ...resident.map((value, i) => ({
            label: `after ${((i + 1) * each).toLocaleString('en')}`,
            value: spread([value]),
            unit: 'MB' as const,
          })),
        ],
        note: 'Resident memory of the whole process, KV and Workflows of the local runtime in it. Flat is taken as at most 1.1x.',
      },
    ]
  },
}
