/** Threat: a license ends and nobody was told; somebody is told each minute; or the mail wakes the tenant's database. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { render } from '../../src/mail/render.ts'
import { warnOfLicenses } from '../../src/tenants/licenses/warnings.ts'
import { master, settings } from '../support/databases.ts'
import { call, operatorToken } from '../support/people.ts'
import { copyTenant } from '../support/tenants.ts'

const AT = 'licensed-mail'
const TO = 'warned@licensed-mail.test'
const DAY = 86_400_000
let operator: string
let id: string

beforeAll(async () => {
  operator = await operatorToken()
  id = (await copyTenant(AT)).id
  await master(sql`update platform.tenants set admin_email = ${TO} where id = ${id}`)
})

const moment = (days: number) => new Date(Date.now() + days * DAY).toISOString()
const give = async (from: number | string, until: number | string) => {
  const at = (when: number | string) => (typeof when === 'number' ? moment(when) : when)
  const body = { valid_from: at(from), valid_until: at(until), grace_days: 10 }
  const { status, body: made } = await call('', `/platform/v1/tenants/${id}/licenses`, { token: operator, body })
  expect(status, JSON.stringify(made)).toBe(201)
  return made.id as string
}
const removeAll = () => master(sql`delete from platform.licenses where tenant_id = ${id}`)
const warn = () => warnOfLicenses(settings(), 'f'.repeat(32))
const mails = () =>
  master(sql`select m.kind, m.locale, m.user_id, m.data from freehold.mails m where m.recipient = ${TO} order by m.created_at`)
/** As an hour later: what was sent before does not keep the next mail back. */
const later = () => master(sql`update freehold.mails set created_at = created_at - interval '2 hours' where recipient = ${TO}`)
const versions = () => master(sql`select v, published_v from platform.tenants where id = ${id}`)

describe('a license that ends', () => {
  it('is told by mail thirty days ahead, once, also where twenty jobs look at once, and the tenant is not told anything', async () => {
    const license = await give(-300, 31)
    await warn()
    expect(await mails()).toEqual([])
    await master(sql`update platform.licenses set valid_until = now() + interval '29 days' where id = ${license}`)
    const before = await versions()
    await Promise.all(Array.from({ length: 20 }, warn))
    await later()
    await warn()
    const told = await mails()
    const data = { organization: expect.any(String), expires_at: expect.any(String), read_only_from: expect.any(String) }
    expect(told).toEqual([{ kind: 'license_ends', locale: 'es', user_id: null, data }])
    const { expires_at, read_only_from } = (told[0]?.data ?? {}) as Record<string, string>
    expect(Date.parse(String(read_only_from)) - Date.parse(String(expires_at))).toBe(10 * DAY)
    // A new version would be told to the tenant's own database, which would wake.
    expect(await versions()).toEqual(before)
    await removeAll()
  })

  it('is told again only when the next one ends, and not where another one follows', async () => {
    const before = (await mails()).length
    const middle = moment(5)
    await give(-10, middle)
    await give(middle, 400)
    await warn()
    expect(await mails()).toHaveLength(before)
    await removeAll()
    await give(-10, 5)
    await warn()
    expect(await mails()).toHaveLength(before + 1)
    await removeAll()
  })

  it('is not told of a tenant that is switched off, of one that ended, nor twice within an hour to one address', async () => {
    await later()
    const before = (await mails()).length
    const license = await give(-10, 5)
    await master(sql`update platform.tenants set status = 'inactive' where id = ${id}`)
    await warn()
    await master(sql`update platform.tenants set status = 'active' where id = ${id}`)
    await master(sql`update platform.licenses set valid_until = now() - interval '1 minute' where id = ${license}`)
    await warn()
    expect(await mails()).toHaveLength(before)
    await removeAll()
    await give(-10, 5)
    await warn()
    await removeAll()
    await give(-10, 6)
    await warn()
    expect(await mails()).toHaveLength(before + 1)
    await later()
    await warn()
    expect(await mails()).toHaveLength(before + 2)
    await removeAll()
  })
})

it.each([
  ['es', 'Freehold: una licencia termina pronto', /desde el 15 de mayo de 2026/],
  ['en', 'Freehold: a license ends soon', /read and exported from May 15, 2026/],
])('the mail says in %s until when, and what comes then', (locale, subject, words) => {
  const realm = { legal_name: 'Freehold', is_demo: false, url: 'https://id.acme.dev' }
  const data = { organization: 'Acme S.A.C.', expires_at: '2026-05-01T10:00:00Z', read_only_from: '2026-05-15T10:00:00Z' }
  const wanted = { kind: 'license_ends', channel: 'email' as const, locale, name: null, timezone: null, data, secrets: {} }
  const mail = render(realm, wanted)
  expect(mail.subject).toBe(subject)
  expect(mail.text).toMatch(words)
  expect(mail.html).toContain('Acme S.A.C.')
})
