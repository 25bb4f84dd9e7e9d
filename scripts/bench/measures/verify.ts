import { cpuEach } from '../cpu.ts'
import type { Measure } from '../finding.ts'
import { ask } from '../load.ts'
import { inTurns, spread } from '../samples.ts'

const TIMES = 20
const REQUESTS = 100

/** The verification of an access token alone: a route that verifies many times, minus one that does not verify. */
export const verify: Measure = {
  name: 'verify',
  async run(stage) {
    const { main, tenant, quick } = stage
    await stage.signIn()
    const cpu = (query: string) => () => cpuEach(stage, REQUESTS, 4, main.at(tenant.subdomain, `/bench/verify?${query}`))
    const first = cpu(`times=${TIMES}&fresh=1`)
    const things = {
      none: cpu('times=0'),
      again: cpu(`times=${TIMES}`),
      first: async () => {
        await ask(main.at(tenant.subdomain, `/bench/tokens?count=${TIMES * REQUESTS}`, { method: 'POST' }))
        return first()
      },
    }
    await inTurns(2, things)
    const took = await inTurns(quick ? 5 : 15, things)
    const each = (values: number[]) => spread(values.map((value, i) => ((value - (took.none[i] ?? 0)) / TIMES) * 1000))
    return [
      {
        title: 'Verification of an access token for the first time, CPU',
        value: each(took.first),
        unit: 'µs',
        goal: null,
        parts: [{ label: 'and again', value: each(took.again), unit: 'µs' }],
        note: 'ES256: signature, header, issuer, audience, times, tenant. The key is imported once and kept; what held is remembered.',
      },
    ]
  },
}
