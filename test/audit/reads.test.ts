/** What leaves no entry. Threat: an audit that is full of who looked at what, in which nobody finds what was done. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { call } from '../support/people.ts'
import { type Cast, castOf } from './people.ts'

const AT = 'read-acts'
let cast: Cast
let paths: string[]

/** The reads that the design names: exports, and other people's permissions. */
const NAMED: [RegExp, string][] = [
  [/^\/api\/v1\/(activities|auth\/me|competencies\/matrix)\/export/, 'EXPORT'],
  [/^\/api\/v1\/users\/[^/]+\/permissions$/, 'PERMISSIONS_READ'],
]

beforeAll(async () => {
  cast = await castOf(AT)
  const [ids] = await cast.database.asOwner(
    sql`select (select id from freehold.roles limit 1) as roles, (select id from freehold.units limit 1) as units,
          (select id from freehold.audit_log order by id limit 1) as activities, (select id from freehold.sessions limit 1) as sessions`,
  )
  const document = (await call('', '/openapi.json')).body
  paths = Object.entries<Record<string, { parameters?: { name: string; in: string; required?: boolean }[] }>>(document.paths)
    .filter(([path, verbs]) => path.startsWith('/api/v1/') && verbs.get)
    .map(([path, { get }]) => {
      const room = path.split('/')[3] ?? ''
      const values: Record<string, string> = {
        id: ids?.[room] ?? cast.people.cy.id,
        permission: 'user:read',
        name: 'user:read',
        format: 'csv',
      }
      const filled = path.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? cast.people.cy.id)
      const query = (get?.parameters ?? [])
        .filter((p) => p.in === 'query' && p.required)
        .map((p) => `${p.name}=${values[p.name]}`)
      return query.length ? `${filled}?${query.join('&')}` : filled
    })
})

const entries = (trace_id: string) =>
  cast.database.asOwner(sql`select activity_type from freehold.audit_log where trace_id = ${trace_id}`)

describe('of all reads', () => {
  it('those that the design names are recorded, once each, and no other', async () => {
    expect(paths.length).toBeGreaterThan(20)
    const answered: number[] = []
    for (const path of paths) {
      // A stream does not end while it is read, and is opened all the same.
      const method = path.endsWith('/stream') ? 'HEAD' : 'GET'
      const { status, headers } = await call(AT, path, { token: cast.tokens.bo, method })
      answered.push(status)
      const named = NAMED.filter(([which]) => which.test(path)).map(([, type]) => type)
      const found = await entries(headers.get('X-Trace-Id') ?? '')
      expect([path, found.map(({ activity_type }) => activity_type)]).toEqual([path, named])
    }
    expect(answered.filter((status) => status === 200).length).toBeGreaterThan(20)
  })

  it('nothing is left by one that notes the session as active, nor by twenty at once', async () => {
    await cast.database.asOwner(sql`update freehold.sessions set last_active_at = now() - interval '1 hour'`)
    const counted = async () => (await cast.database.asOwner(sql`select count(*)::integer as n from freehold.audit_log`))[0]?.n
    const before = await counted()
    const all = await Promise.all(Array.from({ length: 20 }, () => call(AT, '/api/v1/users', { token: cast.tokens.bo })))
    expect(new Set(all.map(({ status }) => status))).toEqual(new Set([200]))
    expect(await counted()).toBe(before)
  })

  it('one’s own permissions are not other people’s', async () => {
    const [bo] = await cast.database.asOwner(sql`select id from freehold.users where username = 'bo'`)
    const { headers, status } = await call(AT, `/api/v1/users/${bo?.id}/permissions`, { token: cast.tokens.bo })
    expect([status, await entries(headers.get('X-Trace-Id') ?? '')]).toEqual([200, []])
  })
})
