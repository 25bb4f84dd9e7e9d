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
        cpuEach(stage, count, WIDTH, main.at(tenant.subdomain, path, { headers }))
    // The two requests of the goal are measured next to each other in time; the components between them are measured separately.
    const ends = { select: cpu(300, '/bench/select'), me: cpu(300, '/api/v1/auth/me', { Authorization }) }
    const between = {
      bare: cpu(800, '/bench/bare'),
      front: cpu(500, '/healthz'),
      resolved: cpu(500, '/.well-known/jwks.json'),
      drizzle: cpu(300, '/bench/drizzle'),
      verb: cpu(300, '/bench/me'),
    }
    await inTurns(2, ends)
    const took = { ...(await inTurns(quick ? 8 : 40, ends)), ...(await inTurns(quick ? 4 : 10, between)) }
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
    ]
  },
}
