/** The other ways out: Cloudflare's binding, the hook for phones, the mailbox; and which of them is taken. */
import { describe, expect, inject, it } from 'vitest'
import { parseSettings } from '../../src/kernel/config.ts'
import type { EmailBinding } from '../../src/kernel/email-binding.ts'
import { MailSender } from '../../src/mail/sender.ts'
import { binding } from '../../src/mail/transports/binding.ts'
import { mailbox } from '../../src/mail/transports/mailbox.ts'
import type { Message } from '../../src/mail/transports/transport.ts'
import { webhook } from '../../src/mail/transports/webhook.ts'
import { mailboxOf } from '../support/mails.ts'
import { call } from '../support/people.ts'

const { told, away } = inject('post_office')
const message = (to: string): Message => ({
  id: crypto.randomUUID(),
  from: { name: 'Freehold', address: 'no-reply@freehold.test' },
  to,
  subject: 'A subject',
  text: 'Some text',
  html: '<p>Some text</p>',
})

describe('Cloudflare’s binding', () => {
  it('is given all of a mail, and its id in a header of ours', async () => {
    const given: object[] = []
    const one = message('ada@acme.test')
    expect(await binding({ send: async (mail) => void given.push(mail) }).send(one)).toEqual({ outcome: 'accepted' })
    const { id, to, subject, text, html } = one
    expect(given).toEqual([
      { from: { email: 'no-reply@freehold.test', name: 'Freehold' }, to, subject, text, html, headers: { 'X-Mail-Id': id } },
    ])
  })

  it.each([
    ['E_RECIPIENT_SUPPRESSED', 'refused'],
    ['E_DAILY_LIMIT_EXCEEDED', 'unavailable'],
    ['E_SENDER_NOT_VERIFIED', 'unavailable'],
    ['E_DELIVERY_FAILED', 'failed'],
    ['E_VALIDATION_ERROR', 'refused'],
    ['E_RECIPIENT_NOT_ALLOWED', 'refused'],
    ['E_HEADER_NOT_ALLOWED', 'refused'],
    ['E_HEADER_VALUE_INVALID', 'refused'],
    ['E_SOMETHING_NEW', 'failed'],
  ])('that says %s: %s', async (code, outcome) => {
    const email = binding({ send: () => Promise.reject(Object.assign(new Error('No.'), { code })) })
    expect(await email.send(message('ada@acme.test'))).toEqual({ outcome, detail: `EMAIL: ${code} No.` })
  })
})

describe('a binding without send', () => {
  it('is said in one sentence where a mail is sent', async () => {
    const detail = 'EMAIL has no send(): declare it under send_email in wrangler.toml.'
    const sent = await binding({} as EmailBinding).send(message('ada@acme.test'))
    expect(sent).toEqual({ outcome: 'unavailable', detail })
  })

  it('fails no request', async () => {
    const settings = { EMAIL: {}, MAIL_FROM: 'a@b.test' } as unknown as Record<string, string>
    expect((await call('', '/healthz', { settings })).status).toBe(200)
  })
})

describe('the hook for phones', () => {
  it('is given number and text, with its token and the same key each time', async () => {
    const one = message('+51987654321')
    for (let i = 0; i < 2; i++) expect(await webhook(`${told}/sms/200`, 'hook-token').send(one)).toEqual({ outcome: 'accepted' })
    const texts = (await (await fetch(`${told}/texts`)).json()) as { key: string }[]
    const taken = {
      body: JSON.stringify({ to: '+51987654321', text: 'Some text' }),
      authorization: 'Bearer hook-token',
      key: one.id,
    }
    expect(texts.filter(({ key }) => key === one.id)).toEqual([taken, taken])
  })

  it.each([
    [400, 'refused'],
    [422, 'refused'],
    [401, 'unavailable'],
    [404, 'unavailable'],
    [302, 'unavailable'],
    [429, 'failed'],
    [500, 'failed'],
  ])('that answers %i: %s', async (status, outcome) => {
    expect(await webhook(`${told}/sms/${status}`, undefined).send(message('+51987654321'))).toEqual({
      outcome,
      detail: `SMS_WEBHOOK_URL answered ${status}: so it is`,
    })
  })

  it('that is not there is away', async () => {
    const verdict = await webhook(`http://127.0.0.1:${away}/`, undefined).send(message('+51987654321'))
    expect(verdict).toMatchObject({ outcome: 'unavailable', detail: expect.stringMatching(/^SMS_WEBHOOK_URL does not answer/) })
  })
})

it('the mailbox takes mails and texts alike', async () => {
  const { MAILBOX_URL = '' } = inject('settings')
  const one = message('+51900000001')
  expect(await mailbox(MAILBOX_URL, 'sms').send(one)).toEqual({ outcome: 'accepted' })
  expect(await mailboxOf(one.to)).toMatchObject([{ id: one.id, channel: 'sms', text: 'Some text' }])
})

describe('the way that is taken', () => {
  const { MAILBOX_URL, ...given } = inject('settings')
  const channels = (more: object) => new MailSender(parseSettings({ ...given, ...more })).channels

  it.each<[string, object, string[]]>([
    ['none without a setting', {}, []],
    ['the mailbox for both', { MAILBOX_URL }, ['email', 'sms']],
    ['SMTP for mail alone', { SMTP_URL: 'smtp://localhost', MAIL_FROM: 'a@b.test' }, ['email']],
    ['the binding for mail alone', { EMAIL: { send: async () => undefined }, MAIL_FROM: 'a@b.test' }, ['email']],
    ['the hook for phones alone', { SMS_WEBHOOK_URL: 'http://127.0.0.1:1/' }, ['sms']],
  ])('is %s', (_, more, expected) => expect(channels(more)).toEqual(expected))

  it('is SMTP where the binding is there too', async () => {
    const used: object[] = []
    const both = {
      SMTP_URL: `smtp://127.0.0.1:${away}`,
      EMAIL: { send: async (mail: object) => void used.push(mail) },
      MAIL_FROM: 'a@b.test',
    }
    const post = new MailSender(parseSettings({ ...given, ...both }))
    expect(await post.send('email', message('ada@acme.test'))).toMatchObject({ outcome: 'unavailable' })
    expect([used, post.channels]).toEqual([[], []])
    await post.close()
  })
})
