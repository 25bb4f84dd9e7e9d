/** Threat: the tenant's mail is a weapon against people who asked for none; or a stranger uses up the mail that somebody waits for. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import { databaseOf, refusalOf } from '../support/databases.ts'
import { addPerson, type Inside, inside } from '../support/inside.ts'
import { knock } from '../support/knock.ts'
import { mailsTo } from '../support/mails.ts'
import { call } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { secretOf, sentTo } from '../support/secrets.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { addMember } from '../users/cast.ts'

const AT = 'throttled'
const DAY = 'throttled-day'
let realm: Inside
let day: Inside
let admin: string

beforeAll(async () => {
  await Promise.all([copyTenant(AT), copyTenant(DAY)])
  realm = await inside(AT)
  day = await inside(DAY)
  admin = await tokenOf(AT)
  for (const { asOwner } of [realm, day]) await asOwner(sql`update freehold.tenant set registration = true`)
})

const post = (path: string, body: unknown, token?: string, at = AT) =>
  call(at, `/api/v1${path}`, { token, method: 'POST', ...(body !== undefined && { body }) })
/** Does something, and waits for so many lines that are logged of mails dropped by the answers' requests (5 s at most). */
async function droppedBy(count: number, act: () => Promise<{ headers: Headers }[]>): Promise<Record<string, unknown>[]> {
  const lines: Record<string, unknown>[] = []
  const spy = vi.spyOn(console, 'log').mockImplementation((line: unknown) => void lines.push(JSON.parse(String(line))))
  try {
    const traces = (await act()).map(({ headers }) => headers.get('X-Trace-Id'))
    const found = () => lines.filter(({ event, trace_id }) => event === 'mail dropped' && traces.includes(String(trace_id)))
    for (const until = Date.now() + 5_000; found().length < count && Date.now() < until; ) await scheduler.wait(20)
    return found()
  } finally {
    spy.mockRestore()
  }
}

describe('a recipient', () => {
  it('whom an administrator made up with words of theirs gets five mails of eight resets, and none of the words', async () => {
    const email = 'customer@stranger.example'
    const given_name = 'Dear customer, your parcel waits at https://evil.example/parcel'
    const { body } = await post('/users', { email, given_name }, admin)
    const answers = []
    for (let i = 0; i < 8; i++) answers.push(await post(`/users/${body.id}/reset-password`, {}, admin))
    for (const { status, body: answer } of answers)
      expect([status, Object.keys(answer)]).toEqual([200, ['user_id', 'must_change_password', 'initial_password']])
    for (const mail of await mailsTo(email, 5)) {
      expect(mail.text).toMatch(/^Hello,\n/)
      expect(`${mail.subject}${mail.text}${mail.html}`).not.toMatch(/parcel|evil/)
    }
    expect(await sentTo(realm, email)).toEqual(Array(5).fill('password_reset_by_admin'))
  })

  it('gets five mails of twenty resets at once, and each is answered the same', async () => {
    const who = await addMember(realm, 'abe')
    const answers = await Promise.all(
      Array.from({ length: 20 }, () =>
        knock(`http://${AT}.freehold.test/api/v1/users/${who.id}/reset-password`, {
          method: 'POST',
          headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${admin}` },
          body: '{}',
        }),
      ),
    )
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
    expect(await sentTo(realm, who.email)).toEqual(Array(5).fill('password_reset_by_admin'))
    const [row] = await realm.asOwner(
      sql`select count(*)::int as n from freehold.one_time_tokens where user_id = ${who.id} and kind = 'reset'`,
    )
    expect(row?.n).toBe(5)
  })

  it('of five resets that a stranger asked for still gets what they ask for themselves, and what an administrator sends', async () => {
    const who = await addMember(realm, 'ann')
    await Promise.all(Array.from({ length: 20 }, () => post('/auth/password-reset', { email: who.email })))
    expect(await sentTo(realm, who.email)).toEqual(Array(5).fill('password_reset'))
    const change = { current_password: who.password, new_password: 'Marble-Kettle-52' }
    expect((await post('/auth/password-change', change, who.token)).status).toBe(204)
    await post(`/users/${who.id}/reset-password`, {}, admin)
    expect(await sentTo(realm, who.email)).toEqual([
      ...Array(5).fill('password_reset'),
      'password_changed',
      'password_reset_by_admin',
    ])
  })

  it('is told of a changed address whatever was sent to them before', async () => {
    const who = await addMember(realm, 'told')
    for (let i = 0; i < 6; i++) await post(`/users/${who.id}/reset-password`, {}, admin)
    const changed = await call(AT, `/api/v1/users/${who.id}`, {
      token: admin,
      method: 'PATCH',
      body: { email: 'elsewhere@evil.example' },
    })
    expect(changed.status).toBe(200)
    expect(await sentTo(realm, who.email)).toEqual([...Array(5).fill('password_reset_by_admin'), 'email_changed'])
  })

  it('is one mailbox: what follows a + in an address, and how a number is written, make no other of it', async () => {
    for (let i = 0; i < 8; i++) await post('/auth/register', { email: `box+${i}@people.test`, password: 'Copper-Window-17' })
    const [row] = await realm.asOwner(sql`select count(*)::int as n from freehold.mails where recipient like 'box+%@people.test'`)
    expect(row?.n).toBe(5)
    const keys = await realm.asOwner(
      sql`select distinct access.recipient_key('sms', n) as key from unnest('{+51977000111,0051977000111,51 977-000-111}'::text[]) n`,
    )
    expect(keys).toEqual([{ key: '51977000111' }])
  })

  it('of address changes is counted for known addresses too, so that what is left tells nothing of them', async () => {
    const known = await addPerson(realm, 'known-one')
    for (const [name, asked] of [
      ['asks-known', known.email],
      ['asks-unknown', 'nobody-here@people.test'],
    ] as const) {
      const who = await addMember(realm, name)
      const change = (new_email: string) => post('/auth/email-change', { new_email, current_password: who.password }, who.token)
      for (let i = 0; i < 5; i++) await change(asked)
      await change(`${name}-mine@people.test`)
      expect(await sentTo(realm, `${name}-mine@people.test`), name).toEqual([])
    }
  })

  it('gets a reset whatever else a stranger had sent to them before', async () => {
    const who = await addPerson(realm, 'bea')
    for (let i = 0; i < 6; i++) await post('/auth/register', { email: who.email, password: 'Copper-Window-17' })
    for (let i = 0; i < 6; i++) await post('/auth/verify-email/resend', { email: who.email })
    await post('/auth/password-reset', { email: who.email })
    expect(await sentTo(realm, who.email)).toEqual([...Array(4).fill('register_known'), 'password_reset'])
    expect(await secretOf(realm, 'password_reset', who.email)).toBeTruthy()
  })

  it('gets mail again once an hour has passed', async () => {
    const { email } = await addPerson(realm, 'cal')
    const ask = () => post('/auth/password-reset', { email })
    for (let i = 0; i < 6; i++) await ask()
    const earlier = (minutes: number) =>
      realm.asOwner(
        sql`update freehold.mails set created_at = created_at - make_interval(mins => ${minutes}) where recipient = ${email}`,
      )
    await earlier(59)
    await ask()
    expect(await sentTo(realm, email)).toHaveLength(5)
    await earlier(2)
    await ask()
    expect(await sentTo(realm, email)).toHaveLength(6)
  })

  it('gets as many as the tenant set', async () => {
    const set = (mail_per_recipient_hour: number) =>
      call(AT, '/api/v1/settings', { token: admin, method: 'PATCH', body: { mail_per_recipient_hour } })
    const { email } = await addPerson(realm, 'dan')
    expect((await set(2)).status).toBe(200)
    for (let i = 0; i < 6; i++) await post('/auth/password-reset', { email })
    expect(await sentTo(realm, email)).toHaveLength(2)
    expect((await set(5)).status).toBe(200)
  })

  it('is one number however it is written: five codes an hour, whoever says that it is theirs', async () => {
    const written = ['+51 977 000 111', '+51977000111', '+51 (977) 000-111', '+51-977-000-111', '51977000111', '+51.977.000.111']
    const answers = []
    for (const [i, phone] of written.entries()) {
      const who = await addMember(realm, `texted-${i}`)
      await realm.asOwner(sql`update freehold.users set phone = ${phone} where id = ${who.id}`)
      answers.push(await post('/auth/phone-verification', undefined, who.token))
    }
    expect(answers.map(({ status }) => status)).toEqual([202, 202, 202, 202, 202, 429])
    expectProblem(answers[5] as never, 429, 'rate_limited')
    const [row] = await realm.asOwner(
      sql`select count(*)::int as n from freehold.mails where channel = 'sms' and recipient = any (array[${sql.join(
        written.map((phone) => sql`${phone}`),
        sql`, `,
      )}])`,
    )
    expect(row?.n).toBe(5)
  })
})

describe('somebody who is logged in', () => {
  it('has five mails an hour sent to addresses that they name, of twenty at once, though each is another', async () => {
    const who = await addMember(realm, 'eva')
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        knock(`http://${AT}.freehold.test/api/v1/auth/email-change`, {
          method: 'POST',
          headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${who.token}` },
          body: JSON.stringify({ new_email: `eva-${i}@stranger.example`, current_password: who.password }),
        }),
      ),
    )
    const accepted = answers.filter(({ status }) => status === 202).length
    expect(accepted).toBeGreaterThanOrEqual(5)
    const [row] = await realm.asOwner(sql`select count(*)::int as n from freehold.mails where user_id = ${who.id}`)
    expect(row?.n).toBe(5)
  })
})

describe('a dropped mail', () => {
  it('is one line of the log: which, of what request, beyond which setting, and not to whom; nothing of it is stored', async () => {
    const { email } = await addPerson(realm, 'fay')
    const answers: Awaited<ReturnType<typeof post>>[] = []
    const lines = await droppedBy(2, async () => {
      for (let i = 0; i < 7; i++) answers.push(await post('/auth/password-reset', { email }))
      return answers
    })
    expect(new Set(answers.map(({ status, body }) => JSON.stringify([status, body])))).toEqual(
      new Set([JSON.stringify([202, { status: 'accepted' }])]),
    )
    expect(lines).toHaveLength(2)
    for (const [i, line] of lines.entries())
      expect(line).toMatchObject({
        event: 'mail dropped',
        tenant: AT,
        trace_id: answers[5 + i]?.headers.get('X-Trace-Id'),
        kind: 'password_reset',
        channel: 'email',
        limit: 'mail_per_recipient_hour',
      })
    expect(JSON.stringify(lines)).not.toContain('fay')
    expect(await realm.asOwner(sql`select 1 from access.dropped_mails`)).toEqual([])
    expect(await sentTo(realm, email)).toHaveLength(5)
  })

  it('is taken out by the sender alone', async () => {
    const { app_url } = await databaseOf(AT)
    expect(await refusalOf(app_url, sql`select access.take_dropped_mails(${realm.id}, 'guessed', 9)`)).toBe('FH403 forbidden')
    for (const table of ['dropped_mails', 'mail_counter'])
      expect(await refusalOf(app_url, sql.raw(`select * from access.${table}`))).toMatch(/^42501/)
  })
})

it('a day that is full still tells people that their password was changed, the first time within an hour', async () => {
  const full = 'throttled-full'
  await copyTenant(full)
  const there = await inside(full)
  const who = await addMember(there, 'last-of-day')
  await there.asOwner(
    sql`insert into access.mail_counter (day, by_strangers, by_others) values ((now() at time zone 'UTC')::date, 1500, 500)
      on conflict (one) do update set day = excluded.day, by_strangers = 1500, by_others = 500`,
  )
  const change = { current_password: who.password, new_password: 'Marble-Kettle-52' }
  expect((await post('/auth/password-change', change, who.token, full)).status).toBe(204)
  expect(await sentTo(there, who.email)).toEqual(['password_changed'])
})

it('an address that nobody has waits as one that is mailed does, while another mail is counted', async () => {
  const { email } = await addPerson(realm, 'guy')
  await realm.asOwner(sql`select access.enqueue_mail('password_expires', null, 'first@people.test')`)
  const done: string[] = []
  const then = (what: string) => () => void done.push(what)
  const held = realm.asOwner(sql`select from access.mail_counter for update`, sql`select pg_sleep(3)`)
  const isHeld = sql`select 1 from pg_locks where relation = 'access.mail_counter'::regclass and mode = 'RowShareLock'`
  while (!(await realm.asOwner(isHeld)).length) await scheduler.wait(20)
  const paths = ['/auth/password-reset', '/auth/verify-email/resend']
  const asked = Promise.all(
    [email, 'nobody@people.test'].flatMap((to) => paths.map((path) => post(path, { email: to }).then(then(`${path} ${to}`)))),
  )
  // Far longer than an answer takes that does not wait, and shorter than the row is held.
  await scheduler.wait(1_000)
  expect(done).toEqual([])
  await Promise.all([held, asked])
  expect(done).toHaveLength(4)
})

it('mails to two people, and changes of their addresses, are decided at once: nobody waits for nobody', async () => {
  const both = [await addMember(realm, 'joy'), await addMember(realm, 'kai')]
  const answers = await Promise.all(
    Array.from({ length: 24 }, (_, i) => {
      const { id, email, username } = both[i % 2] as (typeof both)[number]
      const asks = [
        () => post('/auth/password-reset', { email }),
        () => post(`/users/${id}/reset-password`, {}, admin),
        () => call(AT, `/api/v1/users/${id}`, { token: admin, method: 'PATCH', body: { email: `${username}-${i}@new.example` } }),
      ]
      return (asks[i % 3] as (typeof asks)[0])()
    }),
  )
  expect(answers.map(({ status }) => status).filter((status) => ![200, 202].includes(status))).toEqual([])
})

describe('a tenant', () => {
  const limit = (mail_per_day: number) =>
    day.asOwner(sql`update freehold.tenant set mail_per_day = ${mail_per_day}`, sql`delete from access.mail_counter`)
  const counted = async () =>
    (
      await day.asOwner(
        sql`select by_strangers, by_others, day = (now() at time zone 'UTC')::date as today from access.mail_counter`,
      )
    )[0]
  const registerAll = (from: number, count: number) =>
    Promise.all(
      Array.from({ length: count }, (_, i) =>
        post('/auth/register', { email: `r${from + i}@day.example`, password: 'Marble-Kettle-52' }, undefined, DAY),
      ),
    )
  const mails = async () => (await day.asOwner(sql`select count(*)::int as n from freehold.mails`))[0]?.n

  it('sends a day’s mails and no more: strangers cause three quarters, of twenty at once, and the rest is for others', async () => {
    await limit(8)
    const lines = await droppedBy(14, async () => {
      const answers = await registerAll(0, 20)
      expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([202]))
      return answers
    })
    expect(await mails()).toBe(6)
    expect(lines).toHaveLength(14)
    expect(new Set(lines.map((line) => line.limit))).toEqual(new Set(['mail_per_day']))
    const token = await tokenOf(DAY)
    for (const username of ['gus', 'hal', 'ivy']) {
      const { id } = await addPerson(day, username)
      expect((await post(`/users/${id}/reset-password`, {}, token, DAY)).status).toBe(200)
    }
    expect([await mails(), await counted()]).toEqual([8, { by_strangers: 6, by_others: 2, today: true }])
  })

  it('begins anew with the next day (UTC)', async () => {
    await day.asOwner(sql`update access.mail_counter set day = day - 1`)
    await registerAll(20, 1)
    expect(await counted()).toEqual({ by_strangers: 1, by_others: 0, today: true })
  })

  it('does not count for the day what a recipient is not sent', async () => {
    await limit(100)
    for (let i = 0; i < 8; i++) await post('/auth/password-reset', { email: 'gus@people.test' }, undefined, DAY)
    expect(await counted()).toEqual({ by_strangers: 5, by_others: 0, today: true })
  })

  it('warns of passwords that expire as long as the day has room, and warns the others on another day', async () => {
    const aged = ['w1', 'w2', 'w3', 'w4', 'w5']
    for (const username of aged) await addPerson(day, username)
    await day.asOwner(
      sql`update freehold.passwords p set created_at = now() - interval '80 days' from freehold.users u where u.id = p.user_id and u.username like 'w_'`,
    )
    await day.asOwner(sql`update freehold.tenant set password_days = 90`)
    await limit(4)
    const warn = async () => (await day.asOwner(sql`select access.warn_expiring(100) as n`))[0]?.n
    expect([await warn(), await warn()]).toEqual([3, 0])
    await day.asOwner(sql`update access.mail_counter set day = day - 1`)
    expect(await warn()).toBe(2)
    const [row] = await day.asOwner(sql`select count(*)::int as n from freehold.mails where kind = 'password_expires'`)
    expect(row?.n).toBe(5)
  })
})
