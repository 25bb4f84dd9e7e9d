import { Client } from 'pg'
import type { Finding, Measure } from '../finding.ts'
import { ask, load } from '../load.ts'
import { familyCpuMs, parentOf } from '../proc.ts'
import { differences, inTurns, spread } from '../samples.ts'

const LINES = 16
const COUNT = 160

/** CPU of Postgres of requests that create something, in a tenant whose plan limits that and in the same tenant without a limit. */
export const limits: Measure = {
  name: 'limits',
  async run({ main, tenant, quick, ...stage }) {
    const operator = { Authorization: `Bearer ${await stage.operatorToken()}` }
    const headers = { Authorization: `Bearer ${await stage.signIn()}` }
    const set = (limits: Record<string, number | boolean | null>) =>
      ask(main.at(null, `/platform/v1/tenants/${tenant.id}`, { method: 'PATCH', headers: operator, body: { limits } }))
    const superuser = new Client({ connectionString: stage.stack.neon.postgresUrl })
    await superuser.connect()
    try {
      const { rows } = await superuser.query<{ pid: number }>('select pg_backend_pid() as pid')
      const postmaster = await parentOf(rows[0]?.pid ?? 0)
      let made = 0
      const users = () =>
        load(COUNT, LINES, () =>
          main.at(tenant.subdomain, '/api/v1/users', { headers, body: { email: `limit-${made++}@bench.test` } }),
        )
      const documents = () =>
        load(COUNT, LINES, () => main.at(tenant.subdomain, '/api/v1/usage/documents', { headers, body: {} }))
      const cost = (limited: Record<string, number | boolean | null>, work: () => Promise<unknown>) => async () => {
        await set(limited)
        const before = await familyCpuMs(postmaster)
        await work()
        return ((await familyCpuMs(postmaster)) - before) / COUNT
      }
      const none = { max_users: null, max_documents: null, limit_documents: null }
      const most = { max_users: 1_000_000, max_documents: 1_000_000, limit_documents: true }
      const things = {
        users: cost(none, users),
        limitedUsers: cost(most, users),
        documents: cost(none, documents),
        limitedDocuments: cost(most, documents),
      }
      await inTurns(2, things)
      const took = await inTurns(quick ? 4 : 12, things)
      const finding = (title: string, limited: number[], unlimited: number[]): Finding => ({
        title: `${title} with a limit - without, CPU of Postgres`,
        value: differences(limited, unlimited),
        unit: 'ms',
        goal: 0.1,
        parts: [
          { label: 'with a limit', value: spread(limited), unit: 'ms' },
          { label: 'without', value: spread(unlimited), unit: 'ms' },
        ],
        note: `CPU of all processes of the cluster for each request, over ${LINES} connections. Nobody reaches the limit.`,
      })
      return [
        finding('POST /users', took.limitedUsers, took.users),
        finding('POST /usage/documents', took.limitedDocuments, took.documents),
      ]
    } finally {
      await set({ max_users: null, max_documents: null, limit_documents: null })
      await superuser.end()
    }
  },
}
