/**
 * Threat: how long an endpoint takes tells whether somebody has an account. What an endpoint asks to wait for is looked at, and that it does;
 * a clock is not, because a busy machine would decide.
 */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import { addPerson, type Inside, inside } from '../support/inside.ts'
import { call } from '../support/people.ts'
import { copyTenant } from '../support/tenants.ts'

const AT = 'padded'
/** For a known address an endpoint writes some rows more, which takes a few milliseconds. */
const FAR_LONGER_MS = 100
let realm: Inside

beforeAll(async () => {
  await copyTenant(AT)
  realm = await inside(AT)
  await realm.asOwner(sql`update freehold.tenant set registration = true, email_login = true`)
})

/** What an endpoint asks to wait for, and whether it answered only after that; it takes longer here than it asked for. */
async function askedToWait(path: string, body: object) {
  const asked: number[] = []
  let isOver = false
  const spy = vi.spyOn(scheduler, 'wait').mockImplementation(async (ms) => {
    // A delivery, which begins after an answer, lets others go first.
    if (ms === 0) return
    // Nor does the answer wait for a checkpoint that is made beside it.
    if (new Error().stack?.includes('/maintenance/soon.ts')) return
    asked.push(ms)
    await new Promise((done) => setTimeout(done, 500))
    isOver = true
  })
  try {
    const { status } = await call(AT, path, { body })
    return { status, asked, isOver }
  } finally {
    spy.mockRestore()
  }
}

describe.each<[string, (email: string) => object]>([
  ['/api/v1/auth/password-reset', (email) => ({ email })],
  ['/api/v1/auth/verify-email/resend', (email) => ({ email })],
  ['/api/v1/auth/email-login', (email) => ({ email })],
  ['/api/v1/auth/register', (email) => ({ email, password: 'Violet-Anchor-38' })],
])('POST %s', (path, bodyFor) => {
  it('waits as long for an address that is known as for one that is not, and far longer than its work takes', async () => {
    const known = await addPerson(realm, `known-${path.split('/').at(-1)}`)
    const forKnown = await askedToWait(path, bodyFor(known.email))
    expect(forKnown).toEqual({ status: 202, asked: [expect.any(Number)], isOver: true })
    expect(await askedToWait(path, bodyFor('nobody@people.test'))).toEqual(forKnown)
    expect(forKnown.asked[0]).toBeGreaterThanOrEqual(FAR_LONGER_MS)
  })
})
