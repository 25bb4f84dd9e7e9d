/**
 * How rooms send mail: the transaction that is the reason for a mail enqueues it (access.enqueue_mail), with the recipient's
 * secrets encrypted here; after the answer it is delivered. The scheduled job delivers the rest.
 */
import type { Config } from '../kernel/config.ts'
import type { Ctx } from '../kernel/context.ts'
import { encrypt } from '../kernel/keyring.ts'
import { log } from '../kernel/log.ts'
import { deliverRealm, RUN_MS } from './delivery.ts'
import { MailSender } from './sender.ts'
import { words } from './transports/transport.ts'

/** Encrypts a link's token or a code for `mails.secrets_encrypted`, bound to this realm and to mail. */
export const encryptMailSecrets = (ctx: Ctx, secrets: Record<string, string>): Promise<string> =>
  encrypt(ctx.config.ENCRYPTION_KEYS, ctx.realm.id, 'mail', JSON.stringify(secrets))

/**
 * Delivers the due mails of the realm after the answer: `ctx.later(deliver(ctx))`. Never fails; the scheduled job delivers the
 * rest.
 */
export async function deliver(ctx: Ctx): Promise<void> {
  // The answer first.
  await scheduler.wait(0)
  try {
    const sender = openMailSender(ctx.config)
    if (!sender) return
    try {
      await deliverRealm(ctx.config, ctx.realm, sender, Date.now() + RUN_MS)
    } finally {
      await sender.close()
    }
  } catch (error) {
    log('mail not delivered', { tenant: ctx.realm.subdomain, trace_id: ctx.request.trace_id, error: words(error) })
  }
}

let warned = false

/** The mail sender, or null when no transport is configured: then mails stay queued, which is logged once per isolate. */
export function openMailSender(config: Config): MailSender | null {
  const sender = new MailSender(config)
  if (sender.channels.length) return sender
  if (!warned) log('no mail transport is configured; mail stays queued', { set: 'SMTP_URL, or the binding EMAIL; and MAIL_FROM' })
  warned = true
  return null
}
