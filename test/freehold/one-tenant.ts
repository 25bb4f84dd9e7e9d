/** A platform with one tenant, behind its Worker in workerd, for commands that ask its API. */
import { createServer } from 'node:net'
import { rucFor } from '../../scripts/dev/settings.ts'
import { startStack } from '../../scripts/dev/stack.ts'
import { LOW_COST } from '../support/cost.ts'
import { KEYS } from '../support/keys.ts'
import { folderWithMaster } from '../support/node/cluster.ts'
import { startInWorkerd } from '../support/node/workerd.ts'
import { freehold } from './run.ts'

const PASSWORD = 'Correct-horse-7'

export async function startWithTenant(subdomain: string) {
  const folder = await folderWithMaster(`freehold-${subdomain}`)
  const stops = [folder.remove]
  const stop = async () => {
    for (const end of stops) await end()
  }
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((done) => server.once('listening', done))
  const { port } = server.address() as { port: number }
  await new Promise((done) => server.close(done))
  const url = `http://localhost:${port}`
  const quiet = { dataDir: folder.path, log: () => {} }
  const operator = { email: 'ada@freehold.test', password: PASSWORD, must_change_password: false }
  const given = { ...LOW_COST, BASE_URL: url, ...KEYS }
  const stack = await startStack({ ...quiet, given, operator, durable: false, operationMs: 0 })
  stops.unshift(stack.stop)
  const worker = await startInWorkerd(stack.env, { port })
  stops.unshift(worker.stop)

  const admin = `bo@${subdomain}.test`
  /** Sends one request: to the platform, or where a tenant is named there. */
  async function ask(method: string, path: string, more: { token?: string; tenant?: string; body?: object } = {}) {
    const { token, tenant, body } = more
    const answer = await fetch(`${url}/${tenant ? 'api' : 'platform'}/v1${path}`, {
      method,
      headers: {
        'Content-Type': 'application/json',
        Prefer: 'wait=60',
        ...(token && { Authorization: `Bearer ${token}` }),
        ...(tenant && { 'X-Tenant': tenant }),
      },
      ...(body && { body: JSON.stringify(body) }),
    })
    const text = await answer.text()
    return { status: answer.status, body: text ? JSON.parse(text) : null }
  }
  /** What a login says, and its token. */
  const login = (email: string, password: string, tenant?: string) =>
    ask('POST', '/auth/login', { body: { email, password }, ...(tenant && { tenant }) })
  const ada = String((await login(operator.email, PASSWORD)).body.access_token)
  const about = { subdomain, legal_name: 'A company', tax_id: rucFor(subdomain), admin_email: admin, admin_password: PASSWORD }
  const made = await ask('POST', '/tenants', { token: ada, body: about })
  if (made.status !== 201) throw new Error(JSON.stringify(made))
  const bo = String((await login(admin, PASSWORD, subdomain)).body.access_token)

  return {
    url,
    ask,
    login,
    stop,
    tokens: { ada, bo },
    /** The command line, as ada, an owner of the platform, or as bo, the administrator of the tenant. */
    as: (env: Record<string, string>, ...args: string[]) => freehold(args, { FREEHOLD_URL: url, ...env }),
    ada: (...args: string[]) => freehold(args, { FREEHOLD_URL: url, FREEHOLD_TOKEN: ada }),
    bo: (...args: string[]) => freehold([...args, '--tenant', subdomain], { FREEHOLD_URL: url, FREEHOLD_TENANT_TOKEN: bo }),
  }
}
export type WithTenant = Awaited<ReturnType<typeof startWithTenant>>
