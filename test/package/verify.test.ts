/** The verifier of the npm package, in workerd, with tokens of the Worker. */
import { exports } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { createVerifier, Refusal, type VerifierOptions } from '../../scripts/package/verify/verify.ts'
import { type Inside, inside } from '../support/inside.ts'
import { plantSession, tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

let realm: Inside

beforeAll(async () => {
  await copyTenant('verified')
  await copyTenant('unverified')
  realm = await inside('verified')
})

const verifier = (more: Partial<VerifierOptions> = {}) =>
  createVerifier({
    platform: 'http://freehold.test',
    tenant: 'verified',
    fetch: (url, init) => exports.default.fetch(new Request(url, init)),
    ...more,
  })
const bearing = (token: string) => new Request('https://api.example.com/', { headers: { Authorization: `Bearer ${token}` } })
const refusal = async (call: Promise<unknown>) => {
  const error = await call.catch((reason) => reason)
  expect(error).toBeInstanceOf(Refusal)
  return (error as Refusal).code
}

describe('the verifier', () => {
  it('takes a token of the Worker, and reads who it is of', async () => {
    const { access_token, user_id, session_id } = await plantSession(realm)
    const caller = await verifier().verify(bearing(access_token))
    expect(caller).toMatchObject({ sub: user_id, session_id, tenant: 'verified', tenant_id: realm.id, username: 'bo' })
    expect(caller.permissions.length).toBeGreaterThan(0)
  })

  it('refuses a token of another tenant', async () => {
    expect(await refusal(verifier().verify(bearing(await tokenOf('unverified'))))).toBe('token_wrong_tenant')
  })

  it('asks the Worker online, which knows that a session has ended', async () => {
    const { access_token, session_id } = await plantSession(realm)
    const one = verifier()
    const [permission = ''] = (await one.verify(bearing(access_token))).permissions
    await one.requirePermission(bearing(access_token), permission, { online: true })
    expect(await refusal(one.requirePermission(bearing(access_token), 'no-such:read', { online: true }))).not.toBe(
      'token_invalid',
    )
    await realm.asOwner(sql`update freehold.sessions set ended_at = now(), ended_because = 'logout' where id = ${session_id}`)
    await one.requirePermission(bearing(access_token), permission)
    expect(await refusal(one.requirePermission(bearing(access_token), permission, { online: true }))).toBe('token_invalid')
  })
})
