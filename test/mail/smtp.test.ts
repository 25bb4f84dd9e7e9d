/** Mail over SMTP, to a real server: what arrives, and what becomes of a mail that does not. */
import PostalMime from 'postal-mime'
import { describe, expect, inject, it, onTestFinished, vi } from 'vitest'
import type { SmtpServer } from '../../src/kernel/config.ts'
import { smtp } from '../../src/mail/transports/smtp.ts'
import type { Message } from '../../src/mail/transports/transport.ts'

const PORTS = inject('post_office')
const LOGIN = { username: 'post', password: 'Stamp:and/seal@7' }
const at = (port: number, credentials: SmtpServer['credentials'] = null): SmtpServer => ({
  host: '127.0.0.1',
  port,
  secure: false,
  credentials,
})

type Taken = { to: string; raw: string; user: string | null; secure: boolean; connection: string }
const taken = async (to: string): Promise<Taken[]> =>
  ((await (await fetch(PORTS.told)).json()) as Taken[]).filter((mail) => mail.to === to)

let made = 0
const to = (box: string) => `${box}@smtp-${made++}.test`
const message = (recipient: string, more: Partial<Message> = {}): Message => ({
  id: crypto.randomUUID(),
  from: { name: 'Freehold', address: 'no-reply@freehold.test' },
  to: recipient,
  subject: 'A subject',
  text: 'Some text',
  html: '<p>Some text</p>',
  ...more,
})

/** Sends over one connection and gives what became of each. */
async function sent(server: SmtpServer, ...messages: Message[]) {
  const way = smtp(server)
  const verdicts = []
  for (const one of messages) verdicts.push(await way.send(one))
  await way.close()
  return verdicts
}

describe('a mail that is accepted', () => {
  it('arrives whole, whatever is in it', async () => {
    const recipient = to('ada')
    const subject = 'Ñandú & Söhne: contraseña nueva ✉ '.repeat(8).trim()
    const text = `.\r\nA line that begins with a dot\r\n..\r\n${'ü'.repeat(3000)}\n.\n`
    const one = message(recipient, {
      subject,
      text,
      html: '<p>.\n</p>',
      from: { name: 'Ñandú "A" <b@c.test>', address: 'no-reply@freehold.test' },
    })
    expect(await sent(at(PORTS.open), one)).toEqual([{ outcome: 'accepted' }])
    const [mail] = await taken(recipient)
    const read = await PostalMime.parse(mail?.raw ?? '')
    expect(read).toMatchObject({
      subject,
      messageId: `<${one.id}@freehold.test>`,
      from: { name: 'Ñandú "A" <b@c.test>', address: 'no-reply@freehold.test' },
      to: [{ address: recipient }],
    })
    expect([read.text?.replaceAll('\r\n', '\n').trimEnd(), read.html?.trimEnd()]).toEqual([
      text.replaceAll('\r\n', '\n').trimEnd(),
      '<p>.\n</p>',
    ])
    expect(Math.max(...(mail?.raw ?? '').split('\r\n').map((line) => line.length))).toBeLessThanOrEqual(76)
  })

  it('holds no header that a name smuggled in', async () => {
    const recipient = to('ada')
    await sent(at(PORTS.open), message(recipient, { subject: 'A\r\nBcc: mallory@example.test\r\n\r\nB' }))
    const read = await PostalMime.parse((await taken(recipient))[0]?.raw ?? '')
    expect(read.headers.map(({ key }) => key)).not.toContain('bcc')
    expect(read.bcc).toBeUndefined()
  })

  it('shares its connection with all others of its run', async () => {
    const recipients = Array.from({ length: 20 }, () => to('ada'))
    await sent(at(PORTS.open), ...recipients.map((recipient) => message(recipient)))
    const all = await Promise.all(recipients.map(taken))
    expect(all.map(({ length }) => length)).toEqual(Array(20).fill(1))
    expect(new Set(all.flat().map(({ connection }) => connection)).size).toBe(1)
  })

  it('went in with the password where the server asks for one', async () => {
    const recipient = to('ada')
    expect(await sent(at(PORTS.guarded, LOGIN), message(recipient))).toEqual([{ outcome: 'accepted' }])
    expect(await taken(recipient)).toMatchObject([{ user: 'post' }])
  })
})

describe('a mail that is not accepted', () => {
  it('fails for now on 4xx and for good on 5xx, and those after it go out', async () => {
    const last = to('ada')
    const verdicts = await sent(at(PORTS.open), message(to('busy')), message(to('nobody')), message(to('spam')), message(last))
    expect(verdicts).toMatchObject([
      { outcome: 'failed', detail: 'The server says 451 4.3.2 come later' },
      { outcome: 'refused', detail: expect.stringMatching(/^The server says 550 5\.1\.1 <nobody@/) },
      { outcome: 'refused', detail: expect.stringMatching(/^The server says 554 5\.7\.1 spam/) },
      { outcome: 'accepted' },
    ])
    expect(await taken(last)).toHaveLength(1)
  })

  it.each(['a@b.test>\r\nRCPT TO:<mallory@example.test', 'a b@c.test', 'a@b.test> SIZE=1'])(
    'is refused when its recipient is no address: %j',
    async (recipient) => {
      expect(await sent(at(PORTS.open), message(recipient))).toMatchObject([
        { outcome: 'refused', detail: 'The recipient is not an address.' },
      ])
      expect(await taken('mallory@example.test')).toEqual([])
    },
  )
})

describe('a server that does not do its part', () => {
  it.each<[string, () => SmtpServer, RegExp]>([
    ['nobody listens', () => at(PORTS.away), /^SMTP_URL: /],
    ['it hangs up', () => at(PORTS.closing), /^SMTP_URL: the server closed the connection$/],
    ['it wants a password and none is set', () => at(PORTS.guarded), /^MAIL_FROM: the server says 530|^SMTP_URL: .*530/],
    ['the password is wrong', () => at(PORTS.guarded, { username: 'post', password: 'wrong' }), /^SMTP_URL: the server says 535/],
  ])('%s: told in seconds, as the server’s fault, in words that name the setting', async (_, server, expected) => {
    const from = Date.now()
    const [verdict] = await sent(server(), message(to('ada')))
    expect(verdict).toMatchObject({ outcome: 'unavailable', detail: expect.stringMatching(expected) })
    expect(Date.now() - from).toBeLessThan(15_000)
  })

  it('it never speaks: told in seconds, as the server’s fault, in words that name the setting', async () => {
    // It opens at a time when all but a second of its patience is over.
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() - 11_000 })
    onTestFinished(() => void vi.useRealTimers())
    const verdicts = sent(at(PORTS.silent), message(to('ada')))
    vi.useRealTimers()
    const from = Date.now()
    expect(await verdicts).toEqual([{ outcome: 'unavailable', detail: 'SMTP_URL: the server does not answer' }])
    expect(Date.now() - from).toBeGreaterThan(500)
    expect(Date.now() - from).toBeLessThan(10_000)
  })

  it('is not told a password in clear, unless it is on this machine', async () => {
    const elsewhere = { ...at(PORTS.open, LOGIN), host: '127.1' }
    expect(await sent(elsewhere, message(to('ada')))).toMatchObject([
      { outcome: 'unavailable', detail: expect.stringContaining('offers no STARTTLS') },
    ])
  })

  it('that cuts the line in the middle of a mail is away', async () => {
    expect(await sent(at(PORTS.open), message(to('hangup')))).toMatchObject([{ outcome: 'unavailable' }])
  })
})
