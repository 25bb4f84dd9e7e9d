/**
 * The scheduled delivery of mail. Threat: one realm with an unavailable database or a long queue delays the mail of all others.
 * So each realm gets a share of the run's time, each run begins with another realm, and a failure ends only that realm's turn.
 */
import type { Config } from '../../kernel/config.ts'
import type { Env } from '../../kernel/env.ts'
import { log } from '../../kernel/log.ts'
import { deliverRealm, RUN_MS } from '../../mail/delivery.ts'
import { openMailSender } from '../../mail/mail.ts'
import { lookUp, platformRealm } from '../registry/registry.ts'

/** The next run comes after a minute. */
const ALL_MS = 50_000

/**
 * Delivers the due mails of the realms with these names (subdomains, or `platform`), one after another over one connection to the
 * mail server. Never fails. Returns how many mails were accepted.
 */
export async function deliverDue(env: Env, config: Config, names: string[]): Promise<number> {
  const sender = names.length ? openMailSender(config) : null
  if (!sender) return 0
  const sources = { env, config, meter: { master: 0 } }
  const until = Date.now() + ALL_MS
  const first = Math.floor(Date.now() / 60_000) % names.length
  let sent = 0
  for (const [i, name] of [...names.slice(first), ...names.slice(0, first)].entries()) {
    // A transport that is unavailable is so for every realm.
    if (!sender.channels.length || Date.now() >= until) break
    try {
      const realm = name === 'platform' ? await platformRealm(sources) : (await lookUp(sources, name))?.realm
      const share = Math.max(RUN_MS, (until - Date.now()) / (names.length - i))
      if (realm) sent += await deliverRealm(config, realm, sender, Math.min(until, Date.now() + share))
    } catch (error) {
      log('mail not delivered', { tenant: name, error: error instanceof Error ? error.message : String(error) })
    }
  }
  await sender.close()
  return sent
}
