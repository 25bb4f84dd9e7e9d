/**
 * Threat: a public route that is answered for the tenant that an unsigned token names. Nothing verifies the token there, so the
 * answer is another tenant's, and a cache keeps it for those who sent none.
 */
import { beforeAll, expect, it } from 'vitest'
import { type Door, doorsOf } from '../support/doors.ts'
import { knockElsewhere } from '../support/elsewhere.ts'
import { type Heard, knock } from '../support/knock.ts'
import { login } from '../support/people.ts'
import { expectOAuthError, expectProblem } from '../support/refusal.ts'
import { copyTenant } from '../support/tenants.ts'

const BETA = 'named-by-token'
const base64 = (value: unknown) => btoa(JSON.stringify(value)).replace(/=+$/, '')
const unsigned = `${base64({ alg: 'none' })}.${base64({ tenant: BETA })}.`
/** OAuth has errors of its own. */
const isOAuth = ({ path }: Door) => path.startsWith('/oauth/')
let doors: Door[]
let tokens: string[]

beforeAll(async () => {
  await copyTenant(BETA)
  await copyTenant('by-default')
  doors = (await doorsOf()).filter(({ on_platform }) => !on_platform)
  tokens = [unsigned, (await login(BETA)).access_token]
})

const asked = ({ method, types }: Door, token?: string): RequestInit => ({
  method,
  ...(types.length && { body: '{}' }),
  headers: { ...(types.length && { 'Content-Type': 'application/json' }), ...(token && { Authorization: `Bearer ${token}` }) },
})

it('a token names the tenant of no public route, signed or not', async () => {
  const open = doors.filter(({ is_public, takes_session }) => is_public && !takes_session)
  expect(open.length).toBeGreaterThan(9)
  for (const door of open)
    for (const token of tokens) {
      const answer = await knock(`http://freehold.test${door.path}`, asked(door, token))
      if (isOAuth(door)) expectOAuthError(answer, 400, 'invalid_request', door.name)
      else expectProblem(answer, 400, 'tenant_required', door.name)
    }
})

it('a public route answers with a token as it answers without one, where a tenant is served by default', async () => {
  const settings = { DEFAULT_TENANT: 'by-default' }
  // A challenge is random.
  const told = ({ status, body }: Heard) => ({
    status,
    body: { ...body, trace_id: undefined, challenge: typeof body?.challenge },
  })
  for (const door of doors.filter(({ is_public, takes_session }) => is_public && !takes_session)) {
    const ask = async (token?: string) =>
      told(await knockElsewhere(settings, `http://freehold.test${door.path}`, asked(door, token)))
    const without = await ask()
    for (const token of tokens) expect(await ask(token), door.name).toEqual(without)
  }
})

it('a token still names the tenant of every route that verifies it', async () => {
  const closed = doors.filter(({ takes_session }) => takes_session)
  expect(closed.length).toBeGreaterThan(30)
  for (const door of closed) {
    const answer = await knock(`http://freehold.test${door.path}`, asked(door, unsigned))
    if (isOAuth(door)) expectOAuthError(answer, 401, 'invalid_token', door.name)
    else expectProblem(answer, 401, 'token_invalid', door.name)
  }
})

it('twenty tokens at once name the tenant of none', async () => {
  const answers = await Promise.all(
    Array.from({ length: 20 }, () =>
      knock('http://freehold.test/.well-known/jwks.json', { headers: { Authorization: `Bearer ${unsigned}` } }),
    ),
  )
  expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(400))
})
