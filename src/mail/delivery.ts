/**
 * Delivery: what is due is claimed, sent, and settled mail by mail. Threat: a mail that is lost, or sent twice. A mail is claimed by one
 * conditional statement and held for a minute; whoever is lost after sending and before settling leaves the one mail in flight to be sent
 * again, under the same Message-ID, and those that it had only claimed to whoever comes next.
 */
import type { Config } from '../kernel/config.ts'
import { decrypt } from '../kernel/keyring.ts'
import { log } from '../kernel/log.ts'
import { type Claimed, claim, type Deliverer, finish, type Outcome } from './outbox.ts'
import { render } from './render.ts'
import type { MailSender } from './sender.ts'
import { type Verdict, words } from './transports/transport.ts'

const AT_ONCE = 100
/** Mails are held for a minute: for so long what was claimed is sent, and the last one may take a transport's whole patience beyond it (SMTP: 42 s). */
export const RUN_MS = 15_000

/** Delivers what is due of a realm until nothing is, `until` is over or every way is shut. Gives how many were accepted. */
export async function deliverRealm(config: Config, realm: Deliverer, post: MailSender, until: number): Promise<number> {
  let sent = 0
  while (post.channels.length && Date.now() < until) {
    const mails = await claim(realm, AT_ONCE, post.channels)
    if (!mails.length) break
    const held = Math.min(until, Date.now() + RUN_MS)
    const left: Claimed[] = []
    for (const mail of mails) {
      if (Date.now() >= held || !post.channels.includes(mail.channel)) left.push(mail)
      else if (await deliverOne(config, realm, post, mail)) sent++
    }
    // Given back, so that nobody waits for a lease to run out.
    if (left.length)
      await finish(
        realm,
        left.map(({ attempt, attempts }) => ({ attempt, attempts, outcome: 'untried', detail: null })),
      )
  }
  return sent
}

async function deliverOne(config: Config, realm: Deliverer, post: MailSender, mail: Claimed): Promise<boolean> {
  const { id, attempt, attempts, kind, channel, recipient } = mail
  const about = { tenant: realm.subdomain, ...(mail.trace_id && { trace_id: mail.trace_id }), mail: id, kind, attempts }
  let secrets: Record<string, string> = {}
  let verdict: Verdict
  try {
    secrets =
      mail.secrets_encrypted === null
        ? {}
        : JSON.parse(await decrypt(config.ENCRYPTION_KEYS, realm.id, 'mail', mail.secrets_encrypted))
    const from = config.MAIL_FROM ?? { name: null, address: `no-reply@${config.BASE_URL.hostname}` }
    verdict = await post.send(channel, { id, from, to: recipient, ...render(realm, { ...mail, secrets }) })
  } catch (error) {
    verdict = { outcome: 'failed', detail: words(error) }
  }
  const outcome: Outcome = verdict.outcome === 'away' ? 'failed' : verdict.outcome
  const detail = 'detail' in verdict ? withoutSecrets(verdict.detail, [...Object.values(secrets), recipient]) : null
  const dead = await finishWithRetry(realm, { attempt, attempts, outcome, detail })
  if (dead.length) log('mail given up', { ...about, detail })
  else log(outcome === 'accepted' ? 'mail sent' : 'mail not sent', { ...about, detail })
  return outcome === 'accepted'
}

/** A mail that was accepted is worth a second try to write that down. */
const finishWithRetry = (realm: Deliverer, result: Parameters<typeof finish>[1][number]) =>
  finish(realm, [result]).catch(() => finish(realm, [result]))

/** What a server says may repeat what it was given, and hold what no database keeps. */
const withoutSecrets = (detail: string, secrets: string[]) =>
  secrets.filter(Boolean).reduce((text, secret) => text.replaceAll(secret, '[...]'), detail.toWellFormed().replaceAll('\0', ' '))
