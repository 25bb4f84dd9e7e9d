import { cpuEach } from '../cpu.ts'
import type { Measure } from '../finding.ts'
import { inTurns, ratios, spread } from '../samples.ts'

/** A login against a bare route that computes the same hash. */
export const login: Measure = {
  name: 'login',
  async run(stage) {
    const { main, tenant, quick } = stage
    const cpu = (path: string) => () =>
      cpuEach(stage, quick ? 6 : 8, 2, main.at(tenant.subdomain, path, { body: tenant.credentials }))
    const things = { hash: cpu('/bench/hash'), login: cpu('/api/v1/auth/login') }
    await inTurns(1, things)
    const took = await inTurns(quick ? 4 : 16, things)
    return [
      {
        title: 'Login / the bare hash, CPU',
        value: ratios(took.login, took.hash),
        unit: 'x',
        goal: 1.1,
        parts: [
          { label: 'bare route, PBKDF2 600,000', value: spread(took.hash), unit: 'ms' },
          { label: 'POST /auth/login', value: spread(took.login), unit: 'ms' },
        ],
        note: 'CPU of the workerd process for each request; a login is two round trips, the hash and a signature.',
      },
    ]
  },
}
