/**
 * Threat: a picture stays where pictures are when nobody shows it any more: of somebody who was erased, of a tenant that was, of an
 * upload that was killed half-way; or the one that is shown is deleted with them.
 */
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import { versionsIn } from '../../src/avatars/store.ts'
import { removeLeftAvatars, sweepAvatars } from '../../src/tenants/maintenance/avatars.ts'
import { runMaintenance } from '../../src/tenants/maintenance/maintenance.ts'
import { databaseOf, maintainLater, maintainNext, settings } from '../support/databases.ts'
import { type Inside, inside, type Person } from '../support/inside.ts'
import { call, operatorToken } from '../support/people.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { addMember } from '../users/cast.ts'
import { pngPicture } from './pictures.ts'

const [AT, ERASED] = ['avatars-left', 'avatars-erased']
const files = (env as unknown as { FILES: R2Bucket }).FILES
const OWN = '/api/v1/auth/me/avatar'
let realm: Inside

beforeAll(async () => {
  await Promise.all([copyTenant(AT), copyTenant(ERASED)])
  realm = await inside(AT)
  await maintainLater(realm.id)
})

const put = async (at: string, token: string) => {
  const headers = { 'Content-Type': 'image/png' }
  const answer = await call(at, OWN, { token, method: 'PUT', raw: await pngPicture(20, 20), headers })
  expect(answer.status, JSON.stringify(answer.body)).toBe(200)
  return answer.body.avatar as string
}
const objects = async (prefix: string) => (await files.list({ prefix: `avatars/${prefix}` })).objects.map(({ key }) => key).sort()
const of = ({ id }: Person) => objects(`${realm.id}/${id}/`)
const noted = async ({ id }: Person) => realm.asOwner(sql`select l.version from access.left_avatars l where l.user_id = ${id}`)
const keep = (id: string, version: string) => files.put(`avatars/${realm.id}/${id}/${version}-64`, 'bytes')
const job = async () => ({
  files,
  url: (await databaseOf(AT)).owner_url,
  tenant_id: realm.id,
  tenant: AT,
  trace_id: 'e'.repeat(32),
})

describe('of somebody who is erased', () => {
  it('no object is left once the job has run, and nothing is noted any more', async () => {
    const cy = await addMember(realm, 'cy')
    await put(AT, cy.token)
    expect(await of(cy)).toHaveLength(2)
    const admin = await tokenOf(AT)
    const asked = await call(AT, `/api/v1/users/${cy.id}/erase`, { token: admin, body: { reason: 'left', now: true } })
    expect(asked.status, JSON.stringify(asked.body)).toBe(202)
    await maintainNext(realm.id)
    await runMaintenance(settings(), undefined, files)
    await maintainLater(realm.id)
    const shown = await call(AT, `/api/v1/users/${cy.id}`, { token: admin })
    expect(shown.body).toMatchObject({ given_name: 'Former user', avatar: null })
    expect([await of(cy), await noted(cy)]).toEqual([[], []])
  })
})

describe('what is not shown any more', () => {
  it('is noted with the change, and deleted by the job when nobody did it before', async () => {
    const di = await addMember(realm, 'di')
    const before = await put(AT, di.token)
    await put(AT, di.token)
    expect(await noted(di)).toEqual([{ version: before }])
    // As if the Worker had died before it deleted anything.
    await vi.waitFor(async () => expect(await of(di)).toHaveLength(2), { timeout: 10_000 })
    await keep(di.id, before)
    const broken = { delete: () => Promise.reject(new Error('away')) } as unknown as R2Bucket
    expect(await removeLeftAvatars({ ...(await job()), files: broken })).toBe(false)
    expect(await noted(di)).toHaveLength(1)
    expect(await removeLeftAvatars(await job())).toBe(true)
    expect([await of(di), await noted(di)]).toEqual([[expect.any(String), expect.any(String)], []])
  })

  it('is found by its key when an upload was killed before it was named; what is shown, or was kept a moment ago, stays', async () => {
    const ed = await addMember(realm, 'ed')
    const shown = await put(AT, ed.token)
    await keep(ed.id, 'a'.repeat(32))
    await sweepAvatars(await job())
    expect(await of(ed)).toHaveLength(3)
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 2 * 3_600_000 })
    try {
      await sweepAvatars(await job())
    } finally {
      vi.useRealTimers()
    }
    expect(await of(ed)).toEqual([256, 64].map((size) => `avatars/${realm.id}/${ed.id}/${shown}-${size}`))
  })

  it('is found on every page of a tenant that has many', async () => {
    const tenant_id = crypto.randomUUID()
    const ids = Array.from({ length: 8 }, () => crypto.randomUUID())
    for (let at = 0; at < ids.length; at += 100)
      await Promise.all(ids.slice(at, at + 100).map((id) => files.put(`avatars/${tenant_id}/${id}/${'b'.repeat(32)}-64`, '')))
    const found: string[] = []
    for await (const page of versionsIn(files, tenant_id, new Date(Date.now() + 60_000), 3))
      found.push(...page.map(({ user_id }) => user_id))
    expect(found.sort()).toEqual(ids.sort())
  })
})

describe('of a tenant that is erased', () => {
  it('no object is left, and those of others are', async () => {
    const gone = await inside(ERASED)
    const fay = await addMember(realm, 'fay')
    await put(AT, fay.token)
    await put(ERASED, await tokenOf(ERASED))
    expect(await objects(`${gone.id}/`)).toHaveLength(2)
    const erased = await call('', `/platform/v1/tenants/${gone.id}?hard=true&confirm=${ERASED}`, {
      token: await operatorToken(),
      method: 'DELETE',
    })
    expect(erased.status, JSON.stringify(erased.body)).toBe(202)
    await vi.waitFor(async () => expect(await objects(`${gone.id}/`)).toEqual([]), { timeout: 60_000, interval: 500 })
    expect(await of(fay)).toHaveLength(2)
  })
})
