/**
 * The scheduled delivery of mail. Threat: one realm whose database is away, or which has much to say, keeps the mail of all others; so each has
 * its share of a run, another begins each minute, and a failure is the realm's own.
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
 * Delivers what is due of the realms with these names (subdomains, or `platform`), one after another over one connection to the mail server.
 * Never fails. Gives how many mails were accepted.
 */
export async function deliverDue(env: Env, config: Config, names: string[]): Promise<number> {
  const post = names.length ? openMailSender(config) : null
  if (!post) return 0
  const sources = { env, config, meter: { master: 0 } }
  const until = Date.now() + ALL_MS
  const first = Math.floor(Date.now() / 60_000) % names.length
  let sent = 0
  for (const [i, name] of [...names.slice(first), ...names.slice(0, first)].entries()) {
    // A way that leads nowhere leads nowhere for all.
    if (!post.channels.length || Date.now() >= until) break
    try {
      const realm = name === 'platform' ? await platformRealm(sources) : (await lookUp(sources, name))?.realm
      const share = Math.max(RUN_MS, (until - Date.now()) / (names.length - i))
      if (realm) sent += await deliverRealm(config, realm, post, Math.min(until, Date.now() + share))
    } catch (error) {
      log('mail not delivered', { tenant: name, error: error instanceof Error ? error.message : String(error) })
    }
  }
  await post.close()
  return sent
}
