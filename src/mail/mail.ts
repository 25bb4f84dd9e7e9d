/**
 * What the rooms do with mail: they post it in the database, in the transaction that gives the occasion (access.enqueue_mail), with what only the
 * recipient may know secrets_encrypted here; and have it delivered after the answer. What is not delivered then, the scheduled job delivers.
 */
import type { Config } from '../kernel/config.ts'
import type { Ctx } from '../kernel/context.ts'
import { encrypt } from '../kernel/keyring.ts'
import { log } from '../kernel/log.ts'
import { deliverRealm, RUN_MS } from './delivery.ts'
import { MailSender } from './sender.ts'
import { words } from './transports/transport.ts'

/** What goes into `mails.secrets_encrypted`: a link's token, a code. Opens for this realm's mail alone. */
export const encryptMailSecrets = (ctx: Ctx, secrets: Record<string, string>): Promise<string> =>
  encrypt(ctx.config.ENCRYPTION_KEYS, ctx.realm.id, 'mail', JSON.stringify(secrets))

/** Delivers what is due of the realm, after the answer: `ctx.later(deliver(ctx))`. Never fails; what it could not do, the scheduled job does. */
export async function deliver(ctx: Ctx): Promise<void> {
  // The answer first.
  await scheduler.wait(0)
  try {
    const post = openMailSender(ctx.config)
    if (!post) return
    try {
      await deliverRealm(ctx.config, ctx.realm, post, Date.now() + RUN_MS)
    } finally {
      await post.close()
    }
  } catch (error) {
    log('mail not delivered', { tenant: ctx.realm.subdomain, trace_id: ctx.request.trace_id, error: words(error) })
  }
}

let warned = false

/** The ways out, or null when there is none: then mails wait, which is told once. */
export function openMailSender(config: Config): MailSender | null {
  const post = new MailSender(config)
  if (post.channels.length) return post
  if (!warned) log('mail waits: no way out is set', { set: 'SMTP_URL, or the binding EMAIL; and MAIL_FROM' })
  warned = true
  return null
}
