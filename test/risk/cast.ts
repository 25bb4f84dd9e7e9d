/** Places and people of the tests of risk. */
import { sql } from 'drizzle-orm'
import { expect } from 'vitest'
import type { Inside, Person } from '../support/inside.ts'
import { call } from '../support/people.ts'

export type From = { place?: string; address?: string; agent?: string; device_token?: string; settings?: Record<string, string> }

export const LIMA = { place: 'PE;Lima;-12.05;-77.04;6147', address: '203.0.113.7', agent: 'Firefox/1' }
export const CUSCO = { ...LIMA, place: 'PE;Cusco;-13.53;-71.97;6147', address: '203.0.113.99' }
export const OSLO = { place: 'NO;Oslo;59.91;10.75;2119', address: '198.51.100.4', agent: 'Elsewhere/2' }

export const headersOf = ({ place, address, agent }: From) => ({
  ...(place && { 'X-Place': place }),
  ...(address && { 'CF-Connecting-IP': address }),
  ...(agent && { 'User-Agent': agent }),
})

/** A login with the password, or another one. */
export const enter = (at: string, who: Person, from: From, password = who.password) =>
  call(at, '/api/v1/auth/login', {
    body: { username: who.username, password, ...(from.device_token && { device_token: from.device_token }) },
    headers: headersOf(from),
    ...(from.settings && { settings: from.settings }),
  })

export const refresh = (at: string, refresh_token: string, from: From) =>
  call(at, '/api/v1/auth/refresh-token', { body: { refresh_token }, headers: headersOf(from) })

/** What was kept of somebody's logins, oldest first. */
export const attemptsOf = (realm: Inside, who: { id: string }) =>
  realm.asOwner(
    sql`select kind, score, outcome, to_jsonb(access.risk_reasons(strengths)) as reasons, country, network, asn::integer as asn
      from freehold.risk_attempts where user_id = ${who.id} order by created_at, id`,
  )

/** Moves what is known of somebody into the past. */
export const hoursPass = (realm: Inside, who: { id: string }, hours: number) =>
  realm.asOwner(
    sql`update freehold.risk_attempts set created_at = created_at - make_interval(hours => ${hours}), seen_at = seen_at - make_interval(hours => ${hours})
      where user_id = ${who.id}`,
  )

/** Entries of suspicious activity about somebody, oldest first. */
export const suspicions = (realm: Inside, who: { id: string }) =>
  realm.asOwner(
    sql`select l.action, l.risk_score as score, d.after from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id
      where l.activity_type = 'SUSPICIOUS_ACTIVITY' and l.resource_id = ${who.id} order by l.at, l.id`,
  )

export const set = async (at: string, token: string, body: object) => {
  const answer = await call(at, '/api/v1/settings', { token, method: 'PATCH', body })
  expect(answer.status, JSON.stringify(answer.body)).toBe(200)
  return answer.body
}
