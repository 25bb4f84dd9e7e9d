/**
 * Delivery claims due mails, sends them, and finishes each attempt before the next mail. Threat: a mail that is lost, or sent
 * twice. One conditional statement claims a mail and leases it for a minute. A sender that dies between sending and finishing
 * causes at most one mail to be sent twice, under the same Message-ID; mails that it had only claimed are due again when their
 * lease expires.
 */
import type { Config } from '../kernel/config.ts'
import { decrypt } from '../kernel/keyring.ts'
import { log } from '../kernel/log.ts'
import { type Claimed, claim, type Deliverer, finish, type Outcome } from './outbox.ts'
import { render } from './render.ts'
import type { MailSender } from './sender.ts'
import { type Verdict, words } from './transports/transport.ts'

const AT_ONCE = 100
/**
 * How long claimed mails are sent. The last one may take a transport's whole timeout beyond it (SMTP: 42 s), still within the
 * lease of a minute.
 */
export const RUN_MS = 15_000

/**
 * Delivers the due mails of a realm until there are none, `until` has passed, or no transport is available; those that were
 * dropped are logged. Returns how many were accepted.
 */
export async function deliverRealm(config: Config, realm: Deliverer, sender: MailSender, until: number): Promise<number> {
  let sent = 0
  while (sender.channels.length && Date.now() < until) {
    const { mails, dropped } = await claim(realm, AT_ONCE, sender.channels)
    for (const { id, kind, channel, limit, trace_id } of dropped)
      log('mail dropped', { tenant: realm.subdomain, ...(trace_id && { trace_id }), mail: id, kind, channel, limit })
    if (!mails.length && !dropped.length) break
    const leased_until = Math.min(until, Date.now() + RUN_MS)
    const left: Claimed[] = []
    for (const mail of mails) {
      if (Date.now() >= leased_until || !sender.channels.includes(mail.channel)) left.push(mail)
      else if (await deliverOne(config, realm, sender, mail)) sent++
    }
    // Released, so that they need not wait until their lease expires.
    if (left.length)
      await finish(
        realm,
        left.map(({ attempt, attempts }) => ({ attempt, attempts, outcome: 'untried', detail: null })),
      )
  }
  return sent
}

async function deliverOne(config: Config, realm: Deliverer, sender: MailSender, mail: Claimed): Promise<boolean> {
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
    verdict = await sender.send(channel, { id, from, to: recipient, ...render(realm, { ...mail, secrets }) })
  } catch (error) {
    verdict = { outcome: 'failed', detail: words(error) }
  }
  const outcome: Outcome = verdict.outcome === 'unavailable' ? 'failed' : verdict.outcome
  const detail = 'detail' in verdict ? withoutSecrets(verdict.detail, [...Object.values(secrets), recipient]) : null
  const dead = await finishWithRetry(realm, { attempt, attempts, outcome, detail })
  if (dead.length) log('mail given up', { ...about, detail })
  else log(outcome === 'accepted' ? 'mail sent' : 'mail not sent', { ...about, detail })
  return outcome === 'accepted'
}

/** Finishes an attempt, twice if need be: an accepted mail that is not recorded is sent again. */
const finishWithRetry = (realm: Deliverer, result: Parameters<typeof finish>[1][number]) =>
  finish(realm, [result]).catch(() => finish(realm, [result]))

/** A server's answer may repeat secrets and the recipient, and contain characters that Postgres does not store. */
const withoutSecrets = (detail: string, secrets: string[]) =>
  secrets.filter(Boolean).reduce((text, secret) => text.replaceAll(secret, '[...]'), detail.toWellFormed().replaceAll('\0', ' '))
