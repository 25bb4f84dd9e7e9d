import { createNeonClient, raw } from '@neon/sdk'
import type { Finding, Measure } from '../finding.ts'
import { ask, type Target } from '../load.ts'
import { spread } from '../samples.ts'
import type { Stage } from '../stage.ts'

const MANY = [20, 40, 100, 200]
const ROUNDS = 7
/** How many requests a round takes, of one tenant or of many in turns. */
const REQUESTS = 80
const WIDTH = 4

/**
 * `GET /auth/me` of so many tenants of one host in turns, against that of one tenant. Neon's proxy keeps 20 free connections for an
 * endpoint, whoever they are of; the others are opened for each request.
 */
export const turns: Measure = {
  name: 'turns',
  async run(stage) {
    const { main, quick, tenant, say } = stage
    const counts = quick ? MANY.slice(0, 2) : MANY
    const names = Array.from({ length: counts.at(-1) ?? 0 }, (_, i) => `turn-${i}`)
    const token = await stage.operatorToken()
    await each(names, (name) => stage.makeTenant(name, token))
    say(`${names.length} tenants are made.`)
    const targets = new Map<string, Target>()
    await each(names, async (name) => {
      const { access_token } = await ask<{ access_token: string }>(
        main.at(name, '/api/v1/auth/login', { body: tenant.credentials }),
      )
      targets.set(name, main.at(name, '/api/v1/auth/me', { headers: { Authorization: `Bearer ${access_token}` } }))
    })
    // Each round measures all counts, so that a busy machine disturbs them alike.
    const rounds: { alone: number; many: number[] }[] = []
    for (let round = 0; round < (quick ? 3 : ROUNDS); round++) {
      const alone = await measured(stage, targets, names.slice(0, 1))
      const many: number[] = []
      for (const count of counts) many.push(await measured(stage, targets, names.slice(0, count)))
      rounds.push({ alone, many })
    }
    return counts.map((count, i): Finding => {
      const took = rounds.map(({ many }) => many[i] ?? Number.NaN)
      return {
        title: `GET /auth/me, ${count} tenants of one host in turns / one tenant`,
        value: spread(rounds.map(({ alone }, round) => (took[round] ?? Number.NaN) / alone)),
        unit: 'x',
        goal: null,
        parts: [
          { label: 'one tenant', value: spread(rounds.map(({ alone }) => alone)), unit: 'ms' },
          { label: `${count} tenants in turns`, value: spread(took), unit: 'ms' },
        ],
        note: 'Wall time, one request after another, the mean of a round. A host keeps 20 free connections for all its tenants together.',
      }
    })
  },
}

/** The mean time of a request, of these tenants in turns, when those that went before them are forgotten and each was asked twice. */
async function measured(stage: Stage, targets: Map<string, Target>, names: string[]): Promise<number> {
  await suspendAll(stage)
  const turn = async () => {
    for (const name of names) await ask(targets.get(name) as Target)
  }
  await turn()
  await turn()
  const turns = Math.ceil(REQUESTS / names.length)
  const started = performance.now()
  for (let i = 0; i < turns; i++) await turn()
  return (performance.now() - started) / (turns * names.length)
}

/** Suspends all computes, which closes the connections that are kept for them; the next request wakes each. */
async function suspendAll({ stack: { neon } }: Stage): Promise<void> {
  const { client, projects } = createNeonClient({ apiKey: neon.apiKey, baseUrl: neon.apiUrl, throwOnError: true })
  for (const { id: project_id } of await projects.list().all()) {
    const { endpoints } = await raw.listProjectEndpoints({ client, path: { project_id }, throwOnError: true })
    for (const { id: endpoint_id } of endpoints)
      await raw.suspendProjectEndpoint({ client, path: { project_id, endpoint_id }, throwOnError: true })
  }
}

/** Does something for each of the names, a few at a time. */
async function each(names: string[], what: (name: string) => Promise<unknown>): Promise<void> {
  const left = [...names]
  const line = async () => {
    for (let name = left.shift(); name !== undefined; name = left.shift()) await what(name)
  }
  await Promise.all(Array.from({ length: WIDTH }, line))
}
