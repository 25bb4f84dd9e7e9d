/** From the outbox to the post: what is claimed, tried again, given up; and who may do that. */
import { env } from 'cloudflare:workers'
import { type SQL, sql } from 'drizzle-orm'
import { beforeAll, describe, expect, inject, it, vi } from 'vitest'
import { type Config, parseSettings } from '../../src/kernel/config.ts'
import type { Ctx, Realm } from '../../src/kernel/context.ts'
import { deliverRealm } from '../../src/mail/delivery.ts'
import { encryptMailSecrets } from '../../src/mail/mail.ts'
import { MailSender } from '../../src/mail/sender.ts'
import { deliverDue } from '../../src/tenants/maintenance/mail.ts'
import { runMaintenance } from '../../src/tenants/maintenance/maintenance.ts'
import { lookUp } from '../../src/tenants/registry/registry.ts'
import { type Database, databaseOf, maintainLater, maintainNext, refusalOf, rowsOf, settings } from '../support/databases.ts'
import { mailboxOf, mailsTo } from '../support/mails.ts'
import { copyTenant } from '../support/tenants.ts'

const PORTS = inject('post_office')
let realm: Realm
let database: Database

beforeAll(async () => {
  await copyTenant('delivered')
  database = await databaseOf('delivered')
  await maintainLater(database.id)
  const found = await lookUp({ env, config: settings(), meter: { master: 0 } }, 'delivered')
  if (!found?.realm) throw new Error('The tenant has no realm.')
  realm = found.realm
})

const through = (port: number) => {
  const { MAILBOX_URL, ...given } = inject('settings')
  return parseSettings({ ...given, SMTP_URL: `smtp://127.0.0.1:${port}`, MAIL_FROM: 'no-reply@freehold.test' })
}
const post = (recipient: string, kind = 'password_changed') =>
  database.asOwner(sql`select access.enqueue_mail(${kind}, null, ${recipient})`)

async function deliver(config: Config) {
  settings()
  const out = new MailSender(config)
  const sent = await deliverRealm(config, realm, out, Date.now() + 10_000)
  await out.close()
  return sent
}

let made = 0
const to = (box: string) => `${box}@delivery-${made++}.test`
const mailOf = async (recipient: string) =>
  (
    await database.asOwner(
      sql`select m.state, m.attempts, round(extract(epoch from m.next_at - now()) / 60)::integer as minutes, m.lease_until,
        (select jsonb_agg(jsonb_build_object('outcome', a.outcome, 'detail', a.detail) order by a.started_at, a.id) from freehold.mail_attempts a where a.mail_id = m.id) as tries
      from freehold.mails m where m.recipient = ${recipient}`,
    )
  )[0]
const change = (recipient: string, what: SQL) =>
  database.asOwner(sql`update freehold.mails set ${what} where recipient = ${recipient}`)
const arrived = async (recipient: string) => {
  const taken = (await (await fetch(PORTS.told)).json()) as { to: string; raw: string }[]
  return taken.filter((mail) => mail.to === recipient)
}

describe('a mail that is told to come later', () => {
  it('comes after 1, 2, 4 ... minutes, and each time is on record', async () => {
    const recipient = to('busy')
    await post(recipient)
    const waits = []
    for (let i = 0; i < 8; i++) {
      await deliver(through(PORTS.open))
      waits.push((await mailOf(recipient))?.minutes)
      await change(recipient, sql`next_at = now()`)
    }
    expect(waits).toEqual([1, 2, 4, 8, 16, 32, 60, 60])
    const mail = await mailOf(recipient)
    expect(mail).toMatchObject({ state: 'queued', attempts: 8, lease_until: null })
    expect(mail?.tries).toEqual(Array(8).fill({ outcome: 'failed', detail: 'The server says 451 4.3.2 come later' }))
    await change(recipient, sql`next_at = now() + interval '1 day'`)
  })

  it('is given up after a day, and its secret is gone', async () => {
    const recipient = to('busy')
    await post(recipient)
    await change(recipient, sql`created_at = now() - interval '1 day', secrets_encrypted = 'anything'`)
    await deliver(through(PORTS.open))
    expect(await mailOf(recipient)).toMatchObject({ state: 'dead' })
    expect(
      await database.asOwner(sql`select 1 from freehold.mails where recipient = ${recipient} and secrets_encrypted is not null`),
    ).toEqual([])
  })
})

describe('a mail that is refused', () => {
  it('is given up at once, and what the server said is kept without whom it was for', async () => {
    const recipient = to('nobody')
    await post(recipient)
    await deliver(through(PORTS.open))
    expect(await mailOf(recipient)).toMatchObject({
      state: 'dead',
      attempts: 1,
      tries: [{ outcome: 'refused', detail: 'The server says 550 5.1.1 <[...]> is nobody' }],
    })
  })
})

describe('who runs it', () => {
  it('sees a line for each mail that is sent, waits or is given up: which, why, and of what request, but not to whom', async () => {
    const [fine, later, never] = [to('ada'), to('busy'), to('nobody')]
    for (const recipient of [fine, later, never]) await post(recipient)
    await database.asOwner(sql`update freehold.mails set trace_id = ${'a'.repeat(32)} where recipient = ${never}`)
    const lines: string[] = []
    const spy = vi.spyOn(console, 'log').mockImplementation((line: unknown) => void lines.push(String(line)))
    await deliver(through(PORTS.open)).finally(() => spy.mockRestore())
    const told = lines
      .map((line) => JSON.parse(line))
      .filter(({ tenant, event }) => tenant === 'delivered' && event.startsWith('mail'))
    expect(told).toMatchObject([
      { event: 'mail sent', kind: 'password_changed', attempts: 1, detail: null },
      { event: 'mail not sent', kind: 'password_changed', attempts: 1, detail: 'The server says 451 4.3.2 come later' },
      { event: 'mail given up', trace_id: 'a'.repeat(32), detail: 'The server says 550 5.1.1 <[...]> is nobody' },
    ])
    for (const recipient of [fine, later, never]) expect(lines.join()).not.toContain(recipient)
    await change(later, sql`next_at = now() + interval '1 day'`)
  })

  it('is told once which setting is missing, and mails wait', async () => {
    const { MAILBOX_URL, ...given } = inject('settings')
    const recipient = to('ada')
    await post(recipient)
    const lines: string[] = []
    const spy = vi.spyOn(console, 'log').mockImplementation((line: unknown) => void lines.push(String(line)))
    for (let i = 0; i < 2; i++) expect(await deliverDue(env, parseSettings(given), ['delivered'])).toBe(0)
    spy.mockRestore()
    expect(lines.filter((line) => line.includes('no mail transport is configured')).map((line) => JSON.parse(line).set)).toEqual([
      'SMTP_URL, or the binding EMAIL; and MAIL_FROM',
    ])
    expect(await mailOf(recipient)).toMatchObject({ state: 'queued', attempts: 0 })
    expect(await deliver(settings())).toBe(1)
  })
})

describe('what only the recipient may know', () => {
  const seal = (secrets: Record<string, string>) => encryptMailSecrets({ config: settings(), realm } as Ctx, secrets)
  const postSealed = async (kind: string, recipient: string, secrets: Record<string, string>, channel = 'email') =>
    database.asOwner(
      sql`select access.enqueue_mail(${kind}, null, ${recipient}, jsonb_build_object('expires_at', now()), ${await seal(secrets)}, 'es', ${channel})`,
    )
  const kept = async (recipient: string) =>
    JSON.stringify(
      await database.asOwner(
        sql`select m.*, a.* from freehold.mails m left join freehold.mail_attempts a on a.mail_id = m.id where m.recipient = ${recipient}`,
      ),
    )

  it('is in the mail, and never in the database: neither before, nor after it was sent', async () => {
    const recipient = to('ada')
    const token = `t0-${crypto.randomUUID()}`
    await postSealed('password_reset', recipient, { token })
    const before = await kept(recipient)
    await deliver(settings())
    const [mail] = await mailsTo(recipient)
    expect(mail).toMatchObject({ token, subject: 'delivered S.A.C.: elige una contraseña nueva' })
    expect(mail?.text).toContain(`http://delivered.freehold.test/reset-password#token=${token}`)
    expect(before + (await kept(recipient))).not.toContain(token)
    expect(await mailOf(recipient)).toMatchObject({ state: 'sent' })
  })

  it('is not kept when a server repeats it in its refusal', async () => {
    const recipient = to('spam')
    const token = `t0-${crypto.randomUUID()}`
    await postSealed('password_reset', recipient, { token })
    await deliver(through(PORTS.open))
    const mail = await mailOf(recipient)
    expect(mail).toMatchObject({ state: 'dead' })
    expect(mail?.tries[0].detail).toContain('/reset-password#token=[...]')
    expect(await kept(recipient)).not.toContain(token)
  })

  it('opens for no other tenant', async () => {
    const recipient = to('ada')
    const stolen = await encryptMailSecrets({ config: settings(), realm: { ...realm, id: crypto.randomUUID() } } as Ctx, {
      token: 'stolen',
    })
    await database.asOwner(sql`select access.enqueue_mail('password_reset', null, ${recipient}, '{}', ${stolen})`)
    await deliver(settings())
    expect(await mailOf(recipient)).toMatchObject({ state: 'queued', attempts: 1 })
    expect(await mailboxOf(recipient)).toEqual([])
    await change(recipient, sql`next_at = now() + interval '1 day'`)
  })

  it('reaches a phone as a code', async () => {
    await postSealed('phone_code', '+51911111111', { code: '428571' }, 'sms')
    await deliver(settings())
    expect(await mailsTo('+51911111111')).toMatchObject([{ channel: 'sms', code: '428571' }])
  })

  it('waits while there is no way to a phone, and other mail does not', async () => {
    await postSealed('phone_code', '+51922222222', { code: '428572' }, 'sms')
    const recipient = to('ada')
    await post(recipient)
    expect(await deliver(through(PORTS.open))).toBe(1)
    expect(await mailOf('+51922222222')).toMatchObject({ state: 'queued', attempts: 0 })
    expect(await deliver(settings())).toBe(1)
  })
})

describe('a server that is away', () => {
  it('costs one mail a try, and no other anything; all go out when it is back', async () => {
    const recipients = Array.from({ length: 30 }, () => to('ada'))
    for (const recipient of recipients) await post(recipient)
    expect(await deliver(through(PORTS.away))).toBe(0)
    const mails = await Promise.all(recipients.map(mailOf))
    expect(mails.map((mail) => mail?.attempts).sort()).toEqual([...Array(29).fill(0), 1])
    expect(mails.filter((mail) => mail?.lease_until || mail?.state !== 'queued')).toEqual([])
    const [tried] = mails.flatMap((mail) => mail?.tries ?? [])
    expect(tried).toMatchObject({ outcome: 'failed', detail: expect.stringMatching(/^SMTP_URL: /) })
    await database.asOwner(sql`update freehold.mails set next_at = now() where state = 'queued' and recipient like 'ada@%'`)
    expect(await deliver(through(PORTS.open))).toBe(30)
    expect((await Promise.all(recipients.map(arrived))).map(({ length }) => length)).toEqual(Array(30).fill(1))
  })
})

describe('at once', () => {
  it('four who deliver send each mail once', async () => {
    const recipients = Array.from({ length: 60 }, () => to('ada'))
    for (const recipient of recipients) await post(recipient)
    const sent = await Promise.all(Array.from({ length: 4 }, () => deliver(through(PORTS.open))))
    expect(sent.reduce((a, b) => a + b)).toBe(60)
    expect((await Promise.all(recipients.map(arrived))).map(({ length }) => length)).toEqual(Array(60).fill(1))
  })

  it('what somebody holds nobody else takes, for a minute; then it goes out under the same Message-ID', async () => {
    const recipient = to('ada')
    await post(recipient)
    const claim = sql`select access.claim_mails(${realm.id}, ${realm.system_key}, 100, '["email"]') as mails`
    const [lost] = await database.asApp(claim)
    expect(lost?.mails).toHaveLength(1)
    expect(await deliver(through(PORTS.open))).toBe(0)
    expect(await mailOf(recipient)).toMatchObject({ minutes: 1 })
    await change(recipient, sql`lease_until = now(), next_at = now()`)
    expect(await deliver(through(PORTS.open))).toBe(1)
    // Whoever was lost is back, and says that it failed: it is out all the same.
    const { attempt, attempts, id } = lost?.mails[0] ?? {}
    const late = JSON.stringify([{ attempt, attempts, outcome: 'refused', detail: null }])
    await database.asApp(sql`select access.finish_mails(${realm.id}, ${realm.system_key}, ${late}::jsonb)`)
    expect(await mailOf(recipient)).toMatchObject({ state: 'sent', attempts: 2 })
    expect((await arrived(recipient))[0]?.raw).toContain(`Message-ID: <${id}@freehold.test>`)
  })
})

describe('an answer that comes late, of an attempt that is not the newest any more', () => {
  const claimed = async () => {
    const [row] = await database.asApp(
      sql`select access.claim_mails(${realm.id}, ${realm.system_key}, 100, '["email"]') as mails`,
    )
    expect(row?.mails).toHaveLength(1)
    return row?.mails[0] as { attempt: string; attempts: number }
  }
  const finished = ({ attempt, attempts }: { attempt: string; attempts: number }, outcome: string) => {
    const results = JSON.stringify([{ attempt, attempts, outcome, detail: null }])
    return database.asApp(sql`select access.finish_mails(${realm.id}, ${realm.system_key}, ${results}::jsonb) as dead`)
  }
  /** Everything of a mail that decides when it is sent, to the microsecond. */
  const whole = async (recipient: string) =>
    (
      await database.asOwner(
        sql`select state, attempts, next_at::text, lease_until::text, secrets_encrypted from freehold.mails where recipient = ${recipient}`,
      )
    )[0]
  /** A mail whose first sender was lost for a minute. */
  const lost = async (recipient: string) => {
    await post(recipient)
    await change(recipient, sql`secrets_encrypted = 'anything'`)
    const first = await claimed()
    await change(recipient, sql`lease_until = now(), next_at = now()`)
    return first
  }

  it.each(['refused', 'failed', 'untried'])('and is %s, changes nothing of a mail that another holds', async (outcome) => {
    const recipient = to('ada')
    const first = await lost(recipient)
    const second = await claimed()
    const held = await whole(recipient)
    expect(held).toMatchObject({ state: 'queued', attempts: 2, lease_until: expect.any(String), secrets_encrypted: 'anything' })
    expect(await finished(first, outcome)).toEqual([{ dead: [] }])
    expect(await whole(recipient)).toEqual(held)
    await finished(second, 'accepted')
    expect(await whole(recipient)).toMatchObject({ state: 'sent', attempts: 2 })
  })

  it.each(['refused', 'failed', 'untried'])('and is %s, changes nothing of a mail that is queued again', async (outcome) => {
    const recipient = to('ada')
    const first = await lost(recipient)
    await finished(await claimed(), 'failed')
    await change(recipient, sql`next_at = now() + interval '7 minutes'`)
    const queued = await whole(recipient)
    expect(queued).toMatchObject({ state: 'queued', attempts: 2, lease_until: null, secrets_encrypted: 'anything' })
    expect(await finished(first, outcome)).toEqual([{ dead: [] }])
    expect(await whole(recipient)).toEqual(queued)
    await change(recipient, sql`state = 'dead', finished_at = now()`)
  })
})

describe('a mail that a server took', () => {
  it.each<[string, (real: () => Promise<Response>) => Promise<Response>]>([
    ['does not hear of it at first', async () => Promise.reject(new TypeError('Network connection lost.'))],
    [
      'hears of it and its answer is lost',
      async (real) => {
        await real()
        throw new TypeError('Network connection lost.')
      },
    ],
  ])('is sent once and on record, though the database %s', async (_, broken) => {
    const recipients = [to('ada'), to('ada')]
    for (const recipient of recipients) await post(recipient)
    const real = globalThis.fetch
    let failures = 0
    const spy = vi.spyOn(globalThis, 'fetch').mockImplementation(async (...given) => {
      const isFirst = failures === 0 && String(given[1]?.body).includes('access.finish_mails')
      if (!isFirst) return real(...given)
      failures++
      return broken(() => real(...given))
    })
    expect(await deliver(through(PORTS.open)).finally(() => spy.mockRestore())).toBe(2)
    expect(failures).toBe(1)
    for (const recipient of recipients) {
      expect(await mailOf(recipient)).toMatchObject({ state: 'sent', attempts: 1, tries: [{ outcome: 'accepted' }] })
      expect(await arrived(recipient)).toHaveLength(1)
    }
    expect(await deliver(through(PORTS.open))).toBe(0)
  })
})

describe('the app login', () => {
  const KEYS = ['', 'x'.repeat(43)]
  it.each(KEYS)('claims and settles nothing with the key %j', async (key) => {
    const claim = sql`select access.claim_mails(${realm.id}, ${key}, 100, '["email"]')`
    const settle = sql`select access.finish_mails(${realm.id}, ${key}, '[]')`
    expect(await refusalOf(database.app_url, claim)).toBe('FH403 forbidden')
    expect(await refusalOf(database.app_url, settle)).toBe('FH403 forbidden')
  })

  it('does nothing with the key of another tenant, or as another tenant', async () => {
    await copyTenant('delivered-not')
    const other = (await lookUp({ env, config: settings(), meter: { master: 0 } }, 'delivered-not'))?.realm
    expect(
      await refusalOf(database.app_url, sql`select access.claim_mails(${realm.id}, ${other?.system_key}, 1, '["email"]')`),
    ).toBe('FH403 forbidden')
    expect(
      await refusalOf(database.app_url, sql`select access.claim_mails(${other?.id}, ${other?.system_key}, 1, '["email"]')`),
    ).toBe('FH503 wrong_tenant')
  })

  it.each<[string, SQL]>([
    ['read mails', sql`select * from freehold.mails`],
    ['read tries', sql`select * from freehold.mail_attempts`],
    ['post a mail', sql`select access.enqueue_mail('password_changed', null, 'mallory@example.test')`],
    [
      'write one',
      sql`insert into freehold.mails (id, kind, recipient, locale) values (gen_random_uuid(), 'register', 'mallory@example.test', 'en')`,
    ],
    ['warn', sql`select access.warn_expiring(100)`],
    ['ask when mail is due', sql`select access.next_mail_at('["email"]')`],
  ])('may not %s', async (_, statement) => {
    expect(await refusalOf(database.app_url, statement)).toMatch(/^42501 permission denied/)
  })
})

describe('every minute', () => {
  it('what is due is delivered, of tenants and of the platform, and then nothing is', async () => {
    const [mine, operators] = [to('ada'), to('ada')]
    await post(mine)
    await rowsOf(
      settings().MASTER_DATABASE_URL,
      sql`set local role freehold_owner`,
      sql`select access.enqueue_mail('password_changed', null, ${operators})`,
    )
    // Another test's run may have been there at this moment.
    const visited = async () => {
      await maintainNext(database.id)
      const { due } = await runMaintenance(settings())
      return due.includes('delivered') && due
    }
    const due = await vi.waitUntil(visited, { timeout: 60_000 })
    expect(due).toContain('platform')
    await deliverDue(env, settings(), due)
    expect(await mailsTo(mine)).toMatchObject([{ subject: 'delivered S.A.C.: your password was changed' }])
    expect(await mailsTo(operators)).toMatchObject([{ subject: 'Freehold: your password was changed' }])
    expect((await runMaintenance(settings())).due).not.toContain('delivered')
  })

  it('whose password expires soon is told, once', async () => {
    const email = to('exp')
    await database.asOwner(
      sql`update freehold.tenant set password_days = 90`,
      sql`insert into freehold.users (id, username, email, role, password_changed_at) values (gen_random_uuid(), 'exp', ${email}, 'user', now() - interval '80 days')`,
      sql`insert into freehold.passwords (id, user_id, password_hash, created_at) select gen_random_uuid(), id, 'x', now() - interval '80 days' from freehold.users where username = 'exp'`,
    )
    const minute = async () => {
      await maintainNext(database.id)
      await deliverDue(env, settings(), (await runMaintenance(settings())).due)
      return (await mailboxOf(email)).length
    }
    await vi.waitUntil(minute, { timeout: 60_000 })
    await minute()
    const [mail] = await mailsTo(email)
    expect(mail?.text).toMatch(/expires on \w+ \d+, \d{4}/)
    expect(await mailboxOf(email)).toHaveLength(1)
  })
})
