import { cpuEach } from '../cpu.ts'
import type { Measure } from '../finding.ts'
import { profileOf } from '../profile.ts'
import { inTurns, ratios, spread } from '../samples.ts'

const WIDTH = 8

/** `GET /auth/me` against a bare route, against a bare route that asks the database once, and what lies between. */
export const me: Measure = {
  name: 'me',
  async run(stage) {
    const { main, tenant, quick } = stage
    const Authorization = `Bearer ${await stage.signIn()}`
    const cpu =
      (count: number, path: string, headers: Record<string, string> = {}) =>
      () =>
        cpuEach(stage, quick ? count / 2 : count, WIDTH, main.at(tenant.subdomain, path, { headers }))
    const things = {
      bare: cpu(1200, '/bench/bare'),
      front: cpu(800, '/healthz'),
      resolved: cpu(800, '/.well-known/jwks.json'),
      select: cpu(500, '/bench/select'),
      drizzle: cpu(500, '/bench/drizzle'),
      verb: cpu(500, '/bench/me'),
      me: cpu(500, '/api/v1/auth/me', { Authorization }),
    }
    await inTurns(1, things)
    const took = await inTurns(quick ? 4 : 12, things)
    const part = (label: string, values: number[]) => ({ label, value: spread(values), unit: 'ms' as const })
    return [
      {
        title: 'GET /auth/me / bare route with one `select 1`, CPU',
        value: ratios(took.me, took.select),
        unit: 'x',
        goal: 1.6,
        parts: [
          part('bare route', took.bare),
          part('/healthz: the front door, trace id, headers, the line in the log', took.front),
          part('jwks.json: and the tenant, from memory', took.resolved),
          part('bare route, `select 1`, the driver alone', took.select),
          part('bare route, `select 1`, drizzle on the driver', took.drizzle),
          part("bare route, me's verb: admission and select, no front door, no token", took.verb),
          part('GET /auth/me', took.me),
        ],
        note: 'CPU of the workerd process for each request, 8 connections.',
        profile: await profileOf(
          stage,
          main.at(tenant.subdomain, '/api/v1/auth/me', { headers: { Authorization } }),
          quick ? 200 : 1000,
        ),
      },
      {
        title: 'GET /auth/me / bare route, CPU',
        value: ratios(took.me, took.bare),
        unit: 'x',
        goal: null,
        parts: [],
        note: 'No goal: a bare route does not ask a database.',
      },
    ]
  },
}
