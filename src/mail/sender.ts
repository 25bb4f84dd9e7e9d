import type { Config } from '../kernel/config.ts'
import type { Channel } from './outbox.ts'
import { binding } from './transports/binding.ts'
import { mailbox } from './transports/mailbox.ts'
import { smtp } from './transports/smtp.ts'
import type { Message, Transport, Verdict } from './transports/transport.ts'
import { webhook } from './transports/webhook.ts'

/** The ways out of one run: one for mails, one for phones. */
export class MailSender {
  readonly #ways: Partial<Record<Channel, Transport>>
  /** Ways that turned out to lead nowhere in this run. */
  readonly #shut = new Set<Channel>()

  constructor(config: Config) {
    const { MAILBOX_URL, SMTP_URL, EMAIL, SMS_WEBHOOK_URL, SMS_WEBHOOK_TOKEN } = config
    const email = MAILBOX_URL ? mailbox(MAILBOX_URL, 'email') : SMTP_URL ? smtp(SMTP_URL) : EMAIL && binding(EMAIL)
    const sms = SMS_WEBHOOK_URL ? webhook(SMS_WEBHOOK_URL, SMS_WEBHOOK_TOKEN) : MAILBOX_URL && mailbox(MAILBOX_URL, 'sms')
    this.#ways = { ...(email && { email }), ...(sms && { sms }) }
  }

  /** What can be sent at the moment. */
  get channels(): Channel[] {
    return (Object.keys(this.#ways) as Channel[]).filter((channel) => !this.#shut.has(channel))
  }

  async send(channel: Channel, message: Message): Promise<Verdict> {
    const way = this.#ways[channel]
    if (!way || this.#shut.has(channel)) return { outcome: 'away', detail: `There is no way for ${channel}.` }
    const verdict = await way.send(message)
    if (verdict.outcome === 'away') this.#shut.add(channel)
    return verdict
  }

  async close(): Promise<void> {
    await Promise.all(Object.values(this.#ways).map((way) => way.close()))
  }
}
