import type { Config } from '../kernel/config.ts'
import type { Channel } from './outbox.ts'
import { binding } from './transports/binding.ts'
import { mailbox } from './transports/mailbox.ts'
import { smtp } from './transports/smtp.ts'
import type { Message, Transport, Verdict } from './transports/transport.ts'
import { webhook } from './transports/webhook.ts'

/** The transports of one run: one for mails, one for texts to phones. */
export class MailSender {
  readonly #transports: Partial<Record<Channel, Transport>>
  /** Channels whose transport turned out to be unavailable in this run. */
  readonly #unavailable = new Set<Channel>()

  constructor(config: Config) {
    const { MAILBOX_URL, SMTP_URL, EMAIL, SMS_WEBHOOK_URL, SMS_WEBHOOK_TOKEN } = config
    const email = MAILBOX_URL ? mailbox(MAILBOX_URL, 'email') : SMTP_URL ? smtp(SMTP_URL) : EMAIL && binding(EMAIL)
    const sms = SMS_WEBHOOK_URL ? webhook(SMS_WEBHOOK_URL, SMS_WEBHOOK_TOKEN) : MAILBOX_URL && mailbox(MAILBOX_URL, 'sms')
    this.#transports = { ...(email && { email }), ...(sms && { sms }) }
  }

  /** The channels that can be sent on at the moment. */
  get channels(): Channel[] {
    return (Object.keys(this.#transports) as Channel[]).filter((channel) => !this.#unavailable.has(channel))
  }

  async send(channel: Channel, message: Message): Promise<Verdict> {
    const transport = this.#transports[channel]
    if (!transport || this.#unavailable.has(channel))
      return { outcome: 'unavailable', detail: `No transport for ${channel} is available.` }
    const verdict = await transport.send(message)
    if (verdict.outcome === 'unavailable') this.#unavailable.add(channel)
    return verdict
  }

  async close(): Promise<void> {
    await Promise.all(Object.values(this.#transports).map((transport) => transport.close()))
  }
}
