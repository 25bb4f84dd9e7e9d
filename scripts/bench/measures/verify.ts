import { cpuEach } from '../cpu.ts'
import type { Measure } from '../finding.ts'
import { inTurns, spread } from '../samples.ts'

const TIMES = 20

/** The verification of an access token alone: a route that verifies many times, less one that verifies never. */
export const verify: Measure = {
  name: 'verify',
  async run(stage) {
    const { main, tenant, quick } = stage
    await stage.signIn()
    const cpu = (times: number) => () => cpuEach(stage, 100, 4, main.at(tenant.subdomain, `/bench/verify?times=${times}`))
    const things = { none: cpu(0), many: cpu(TIMES) }
    await inTurns(2, things)
    const took = await inTurns(quick ? 5 : 15, things)
    return [
      {
        title: 'Verification of an access token, CPU',
        value: spread(took.many.map((value, i) => ((value - (took.none[i] ?? 0)) / TIMES) * 1000)),
        unit: 'µs',
        goal: null,
        parts: [],
        note: 'ES256: signature, header, issuer, audience, times, tenant. The key is imported once and kept.',
      },
    ]
  },
}
