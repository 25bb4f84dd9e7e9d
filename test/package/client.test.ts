/** The client of the npm package, in workerd, against the Worker. */
import { exports } from 'cloudflare:workers'
import { beforeAll, describe, expect, it } from 'vitest'
import { createClient, type Kept, ProblemError, type Tokens } from '../../scripts/package/client/client.ts'
import { addPerson, forge, type Inside, inside, type Person } from '../support/inside.ts'
import { plantSession } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

const URL_OF_TENANT = 'http://typed.freehold.test'
let realm: Inside
let cy: Person

beforeAll(async () => {
  await copyTenant('typed')
  realm = await inside('typed')
  cy = await addPerson(realm, 'cy')
})

type Lists = {
  '/api/v1/users': {
    get: {
      parameters: { query?: { limit?: number; cursor?: string } }
      responses: { 200: { content: { 'application/json': { data: { username: string }[]; next_cursor: string | null } } } }
    }
    post: {
      parameters: object
      requestBody: { content: { 'application/json': Record<string, unknown> } }
      responses: { 201: { content: { 'application/json': { id: string } } } }
    }
  }
  '/api/v1/auth/whoami': {
    get: { parameters: object; responses: { 200: { content: { 'application/json': Record<string, unknown> } } } }
  }
}

/** A client of the tenant, and what it asked and was told. */
function clientWith(tokens?: Kept) {
  const asked: string[] = []
  const told: (Tokens | null)[] = []
  const client = createClient<Lists>({
    url: URL_OF_TENANT,
    ...(tokens && { tokens }),
    onTokens: (given) => told.push(given),
    fetch: (request) => {
      asked.push(new URL(request.url).pathname)
      return exports.default.fetch(request)
    },
  })
  const refreshes = () => asked.filter((path) => path.endsWith('/refresh-token')).length
  return { client, told, refreshes }
}

/** A session whose access token expired a minute ago. */
async function expiredSession(username = 'bo') {
  const { session_id: sid, user_id: sub, refresh_token } = await plantSession(realm, username)
  const at = Math.floor(Date.now() / 1000)
  return { access_token: await forge(realm, { sub, sid }, { claims: { iat: at - 960, exp: at - 60 } }), refresh_token }
}
const failure = async (call: Promise<unknown>) => {
  const error = await call.catch((reason) => reason)
  expect(error).toBeInstanceOf(ProblemError)
  return error as ProblemError
}

describe('the client', () => {
  it('logs in, asks as who logged in, and logs out', async () => {
    const { client, told } = clientWith()
    const { access_token } = await client.logIn({ username: cy.username, password: cy.password })
    expect((await client.GET('/api/v1/auth/whoami')).data).toMatchObject({ username: 'cy' })
    expect(client.tokens).toMatchObject({ access_token })
    await client.logOut()
    expect(told).toEqual([expect.objectContaining({ access_token }), null])
    expect((await failure(client.GET('/api/v1/auth/whoami'))).code).toBe('token_missing')
  })

  it('reads a list to its end, page after page', async () => {
    const { client } = clientWith(await plantSession(realm))
    for (const username of ['ee', 'ff', 'gg']) await addPerson(realm, username)
    const all: string[] = []
    for await (const { username } of client.list('/api/v1/users', { params: { query: { limit: 2 } } })) all.push(username)
    expect(all).toEqual(expect.arrayContaining(['bo', 'cy', 'ee', 'ff', 'gg']))
    expect(new Set(all).size).toBe(all.length)
  })

  it('fails with the problem that the API answers', async () => {
    const { client } = clientWith(await plantSession(realm))
    const { code, status, errors, trace_id } = await failure(client.POST('/api/v1/users', { body: { username: 7 } }))
    expect({ code, status }).toEqual({ code: 'invalid_request', status: 400 })
    expect(errors).toContainEqual({ pointer: '#/username', detail: expect.any(String) })
    expect(trace_id).toMatch(/^[0-9a-f]{32}$/)
  })
})

describe('an expired access token', () => {
  it('is exchanged once for twenty calls at once, and all of them succeed', async () => {
    const { client, refreshes, told } = clientWith(await expiredSession())
    const answers = await Promise.all(Array.from({ length: 20 }, () => client.GET('/api/v1/auth/whoami')))
    expect(answers.map(({ data }) => data.username)).toEqual(Array(20).fill('bo'))
    expect(refreshes()).toBe(1)
    expect(told).toHaveLength(1)
    await client.GET('/api/v1/auth/whoami')
    expect(refreshes()).toBe(1)
  })

  it('is exchanged before a body is sent again, which arrives whole', async () => {
    const { client } = clientWith(await expiredSession())
    const body = { username: 'hh', email: 'hh@people.test', given_name: 'Hana', family_name: 'Ito', role: 'user' }
    const { data, response } = await client.POST('/api/v1/users', { body })
    expect(response.status).toBe(201)
    expect(data.id).toMatch(/^[0-9a-f-]{36}$/)
  })

  it('whose refresh token is not valid ends the session, for all who wait, with one request', async () => {
    const { access_token } = await expiredSession()
    const { client, refreshes, told } = clientWith({ access_token, refresh_token: 'x'.repeat(43) })
    const failures = await Promise.all(Array.from({ length: 20 }, () => failure(client.GET('/api/v1/auth/whoami'))))
    expect(new Set(failures.map(({ code }) => code))).toEqual(new Set(['refresh_invalid']))
    expect(refreshes()).toBe(1)
    expect(told).toEqual([null])
    expect(client.tokens).toBeNull()
  })

  it('of a session that was ended elsewhere is not asked for again and again', async () => {
    const { client, refreshes } = clientWith(await plantSession(realm, 'cy'))
    const other = clientWith(client.tokens ?? undefined).client
    await other.logOut()
    expect((await failure(client.GET('/api/v1/auth/whoami'))).code).toBe('session_ended')
    expect(refreshes()).toBe(0)
  })
})
