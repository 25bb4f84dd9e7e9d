/** Mails of notifications. Threat: two Workers mail the same; a mail comes though it was not wanted; somebody who is gone is mailed. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { render } from '../../src/mail/render.ts'
import { EVENTS, toldOf } from '../../src/mail/templates/told.ts'
import { type Cast, cast, type Member } from '../roles/cast.ts'

let here: Cast
let people = 0

beforeAll(async () => {
  here = await cast('told-by-mail')
})

const newcomer = (more = {}) => here.member(`mailed-${people++}`, more)
const tell = (
  who: { id: string },
  event = 'competency_expired',
  params: object = { competency: 'Welding', expires_at: '2030-01-01T00:00:00Z' },
) => here.realm.asOwner(sql`select access.notify(${who.id}, ${event}, ${JSON.stringify(params)}::jsonb)`)
const prefer = (who: Member, kinds: object) =>
  here.ask('/notifications/preferences', { method: 'PUT', token: who.token, body: kinds })
const mailNow = async () => (await here.realm.asOwner(sql`select access.mail_notifications(100) as n`))[0]?.n
const mailsOf = (who: { id: string }) =>
  here.realm.asOwner(sql`select * from freehold.mails where user_id = ${who.id} and kind = 'notifications' order by created_at`)
const dayLater = (who: { id: string }) =>
  here.realm.asOwner(sql`update freehold.notifications set created_at = created_at - interval '1 day' where user_id = ${who.id}`)
const NOW = { in_app: true, mail: 'now' }

describe('a mail', () => {
  it('at once has all that waits, and comes once, also where two Workers send it', async () => {
    const who = await newcomer()
    await prefer(who, { competency: NOW })
    await tell(who)
    await tell(who, 'competency_expires')
    const sent = await Promise.all(Array.from({ length: 10 }, mailNow))
    expect(sent.reduce((sum, n) => sum + n, 0)).toBe(1)
    const [mail, ...more] = await mailsOf(who)
    expect(more).toEqual([])
    expect(mail?.data).toMatchObject({ count: 2, items: [{ event: 'competency_expired' }, { event: 'competency_expires' }] })
    expect(await mailNow()).toBe(0)
  })

  it('of the day waits for the next, and has nothing that was read meanwhile', async () => {
    const [who, reader] = [await newcomer(), await newcomer()]
    for (const each of [who, reader]) await tell(each)
    await mailNow()
    expect(await mailsOf(who)).toEqual([])
    await Promise.all([dayLater(who), dayLater(reader)])
    await here.ask('/notifications/read-all', { method: 'POST', token: reader.token })
    const sent = await Promise.all(Array.from({ length: 10 }, mailNow))
    expect(sent.reduce((sum, n) => sum + n, 0)).toBe(1)
    expect([(await mailsOf(who)).length, (await mailsOf(reader)).length]).toEqual([1, 0])
  })

  it('is not sent to who chose none, nor to who was deactivated', async () => {
    const [off, gone] = [await newcomer(), await newcomer()]
    await prefer(off, { competency: { in_app: true, mail: 'off' } })
    await prefer(gone, { competency: NOW })
    for (const each of [off, gone]) await tell(each)
    await here.realm.asOwner(sql`update freehold.users set is_active = false where id = ${gone.id}`)
    await mailNow()
    expect([(await mailsOf(off)).length, (await mailsOf(gone)).length]).toEqual([0, 0])
  })

  it('is not sent to who chose none while it waited, but where it protects their account', async () => {
    const [who, told] = [await newcomer(), await newcomer()]
    for (const each of [who, told]) {
      await prefer(each, { competency: NOW })
      await tell(each)
    }
    await tell(told, 'suspicious_activity', { reasons: 'new_country' })
    for (const each of [who, told]) await prefer(each, { competency: { in_app: true, mail: 'off' } })
    await mailNow()
    expect(await mailsOf(who)).toEqual([])
    expect((await mailsOf(told)).map(({ data }) => data.items)).toMatchObject([[{ event: 'suspicious_activity' }]])
  })

  it('of who was deactivated keeps nobody behind them waiting, and the tenant is not due for it', async () => {
    await here.realm.asOwner(sql`update freehold.notifications set mail = null`)
    const [gone, who] = [await newcomer(), await newcomer()]
    for (const each of [gone, who]) {
      await prefer(each, { competency: NOW })
      await tell(each)
    }
    await here.realm.asOwner(sql`update freehold.users set is_active = false where id = ${gone.id}`)
    for (let run = 0; run < 2; run++) await here.realm.asOwner(sql`select access.mail_notifications(1)`)
    expect([(await mailsOf(gone)).length, (await mailsOf(who)).length]).toEqual([0, 1])
    expect((await here.realm.asOwner(sql`select access.notifications_due() as at`))[0]?.at).toBeNull()
  })

  it('is due when something waits', async () => {
    await mailNow()
    const due = async () => (await here.realm.asOwner(sql`select access.notifications_due() as at, now() as now`))[0] as any
    await here.realm.asOwner(sql`update freehold.notifications set mail = null`)
    expect((await due()).at).toBeNull()
    const who = await newcomer()
    await tell(who)
    const later = await due()
    expect(new Date(later.at).toISOString()).toMatch(/T00:00:00\.000Z$/)
    expect(new Date(later.at).getTime()).toBeGreaterThan(new Date(later.now).getTime())
    await prefer(who, { competency: NOW })
    await tell(who)
    const now = await due()
    expect(new Date(now.at).getTime()).toBe(new Date(now.now).getTime())
    await mailNow()
  })
})

it('the end of a license is told to administrators, once', async () => {
  await newcomer()
  await here.realm.asOwner(
    sql`update freehold.tenant set licensed_until = now() + interval '20 days', read_only_from = now() + interval '30 days'`,
  )
  const told = async () => (await here.realm.asOwner(sql`select access.tell_of_license() as n`))[0]?.n
  expect([await told(), await told()]).toEqual([1, 0])
  const { body } = await here.ask('/notifications')
  expect(body.data[0]).toMatchObject({ event: 'license_ends', kind: 'license' })
  await here.realm.asOwner(sql`update freehold.tenant set licensed_until = null, read_only_from = null`)
})

describe('what is said', () => {
  const realm = { legal_name: 'Acme', is_demo: false, url: 'https://acme.example.com' }
  const letter = (locale: string, items: object[]) =>
    render(realm, {
      ...{ kind: 'notifications', channel: 'email' as const, locale, name: 'Ann', timezone: 'America/Lima', secrets: {} },
      data: { count: String(items.length), items },
    })

  it('of each event is there in both languages, with the same values', () => {
    const values = (text: string) => [...text.matchAll(/\{\w+\}/g)].map(String).sort()
    for (const event of EVENTS) {
      const [en, es] = [toldOf('en', event), toldOf('es', event)]
      expect(values(es?.text ?? ''), event).toEqual(values(en?.text ?? ''))
      expect(es?.title, event).not.toBe(en?.title)
    }
  })

  it('in a mail is each in its own paragraph, with its own values, in the time of its reader, and no link of theirs', () => {
    const items = [
      { event: 'competency_expired', params: { competency: 'evil.example.com {url}', expires_at: '2030-01-01T00:00:00Z' } },
      {
        event: 'delegation_received',
        params: { person: 'Cy <b>', starts_at: '2030-01-01T00:00:00Z', ends_at: '2030-02-01T00:00:00Z' },
      },
      { event: 'moon_landed', params: {} },
    ]
    const { subject, text, html } = letter('en', items)
    expect(subject).toBe('Acme: 3 notifications')
    expect(text).toContain(
      'A competency has expired. evil. example. com {url} expired on December 31, 2029 at 7:00 PM (America/Lima).',
    )
    expect(text).toContain('Cy <b> delegates to you from December 31, 2029')
    expect(html).toContain('Cy &lt;b&gt; delegates')
    expect(text).toContain('https://acme.example.com/account/notifications')
    const one = letter('es-PE', items.slice(1, 2))
    expect(one.subject).toBe('Acme: te han delegado algo')
    expect(letter('en', [{ event: 'invitation_accepted', params: {} }]).text).toContain('Somebody accepted your invitation.')
  })
})
