/** A login with a provider that others wrote (oidc-provider, certified by the OpenID Foundation): its pages, its codes, its tokens. */
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { rucFor } from '../../scripts/dev/settings.ts'
import { startStack } from '../../scripts/dev/stack.ts'
import { LOW_COST } from '../support/cost.ts'
import { KEYS } from '../support/keys.ts'
import { folderWithMaster } from '../support/node/cluster.ts'
import { startInWorkerd } from '../support/node/workerd.ts'

const OPERATOR = { email: 'ada@freehold.test', password: 'Correct-horse-7' }
const ADMIN = { email: 'bo@acme.test', password: 'Tr0ub4dor-and-3' }
const CALLBACK = 'http://acme.localhost/login/external/real/callback'
let port: number
let stops: (() => Promise<unknown>)[] = []

type Seen = { status: number; location: string; text: string }
/** A browser: one jar for each host, and no redirect is followed. */
const jars = new Map<string, Map<string, string>>()
function visit(address: string, form?: Record<string, string>, headers: Record<string, string> = {}): Promise<Seen> {
  const url = new URL(address)
  const jar = jars.get(url.host) ?? new Map<string, string>()
  jars.set(url.host, jar)
  const body = form && new URLSearchParams(form).toString()
  const at = url.hostname.endsWith('localhost') ? port : Number(url.port)
  return new Promise((done, failed) => {
    const sent = request(
      {
        host: '127.0.0.1',
        port: at,
        path: `${url.pathname}${url.search}`,
        method: body === undefined ? 'GET' : 'POST',
        headers: {
          Host: url.host,
          'User-Agent': 'cy/1.0',
          Cookie: [...jar].map((pair) => pair.join('=')).join('; '),
          ...(body !== undefined && {
            'Content-Type': 'application/x-www-form-urlencoded',
            'Content-Length': String(Buffer.byteLength(body)),
          }),
          ...headers,
        },
      },
      async (answer) => {
        let text = ''
        for await (const chunk of answer) text += chunk
        for (const line of answer.headers['set-cookie'] ?? []) {
          const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? []
          if (value === '') jar.delete(name)
          else jar.set(name, value)
        }
        const location = answer.headers.location ? new URL(answer.headers.location, address).href : ''
        done({ status: answer.statusCode ?? 0, location, text })
      },
    )
    sent.on('error', failed)
    sent.end(body)
  })
}
const api = async (path: string, host: string, body?: object, token?: string) => {
  const url = `http://127.0.0.1:${port}${path}`
  const tenant = host === 'localhost' ? {} : { 'X-Tenant': 'acme' }
  const answer = await fetch(url, {
    method: body ? 'POST' : 'GET',
    headers: {
      'Content-Type': 'application/json',
      Prefer: 'wait=30',
      ...tenant,
      ...(token && { Authorization: `Bearer ${token}` }),
    },
    ...(body && { body: JSON.stringify(body) }),
  })
  return { status: answer.status, body: await answer.json() }
}

async function startProvider(): Promise<string> {
  const { Provider } = await import('oidc-provider')
  const holder = createServer()
  await new Promise<void>((ready) => holder.listen(0, '127.0.0.1', ready))
  const issuer = `http://127.0.0.1:${(holder.address() as AddressInfo).port}`
  const provider = new Provider(issuer, {
    clients: [{ client_id: 'freehold', client_secret: 'a secret/of+ours', redirect_uris: [CALLBACK] }],
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['given_name', 'family_name'] },
    features: { claimsParameter: { enabled: true } },
    findAccount: (_: unknown, id: string) => ({
      accountId: id,
      claims: async () => ({ sub: id, email: `${id}@acme.example`, email_verified: true, given_name: 'Ann', family_name: 'Lee' }),
    }),
    cookies: { keys: ['a key of cookies'] },
    pkce: { required: () => true },
  })
  holder.on('request', provider.callback())
  stops.unshift(async () => holder.close().closeAllConnections())
  return issuer
}

beforeAll(async () => {
  const { path: dataDir, remove } = await folderWithMaster('freehold-real-provider')
  stops = [remove]
  const given = { ...LOW_COST, BASE_URL: 'http://localhost', ...KEYS }
  const stack = await startStack({
    dataDir,
    log: () => {},
    given,
    operator: { ...OPERATOR, must_change_password: false },
    durable: false,
    operationMs: 0,
  })
  stops.unshift(stack.stop)
  const worker = await startInWorkerd(stack.env)
  stops.unshift(worker.stop)
  port = worker.port
})
afterAll(async () => {
  for (const stop of stops) await stop()
})

it('out to its pages, back with a code, and logged in, as the user that its claims make', async () => {
  const operator = await api('/platform/v1/auth/login', 'localhost', OPERATOR)
  const made = await api(
    '/platform/v1/tenants',
    'localhost',
    {
      subdomain: 'acme',
      legal_name: 'Acme S.A.C.',
      tax_id: rucFor('acme'),
      admin_email: ADMIN.email,
      admin_password: ADMIN.password,
    },
    operator.body.access_token,
  )
  expect(made.status, JSON.stringify(made.body)).toBe(201)
  const admin = await api('/api/v1/auth/login', 'acme', ADMIN)
  const issuer = await startProvider()
  const settings = {
    name: 'real',
    type: 'oidc',
    issuer,
    client_id: 'freehold',
    client_secret: 'a secret/of+ours',
    label: 'Real',
    creates_users: true,
    allowed_domains: ['acme.example'],
  }
  const added = await api('/api/v1/settings/providers', 'acme', settings, admin.body.access_token)
  expect(added.status, JSON.stringify(added.body)).toBe(201)

  let seen = await visit('http://acme.localhost/login/external/real?next=/account/passkeys')
  for (let steps = 0; steps < 12 && !seen.location.startsWith(CALLBACK); steps++) {
    if (seen.location) {
      seen = await visit(seen.location)
      continue
    }
    const [, action = ''] = /<form[^>]*action="([^"]+)"/.exec(seen.text) ?? []
    const [, prompt = ''] = /name="prompt" value="(\w+)"/.exec(seen.text) ?? []
    expect(prompt, seen.text).not.toBe('')
    seen = await visit(new URL(action, issuer).href, prompt === 'login' ? { prompt, login: 'ann', password: 'any' } : { prompt })
  }
  expect(new URL(seen.location).searchParams.get('iss')).toBe(issuer)
  const elsewhere = { 'Sec-Fetch-Site': 'cross-site', 'Sec-Fetch-Mode': 'navigate', 'Sec-Fetch-Dest': 'document' }
  const back = await visit(seen.location, undefined, elsewhere)
  expect([back.status, back.location], back.text).toEqual([303, 'http://acme.localhost/login?next=%2Faccount%2Fpasskeys'])
  const account = await visit('http://acme.localhost/account', undefined, { ...elsewhere, 'Sec-Fetch-Site': 'same-origin' })
  expect(account.status).toBe(200)
  expect(account.text).toContain('ann@acme.example')
  expect(account.text).toContain('Ann')
})
