import type { SmtpServer } from '../../kernel/config.ts'
import { compose, domainOf } from './mime.ts'
import { Lost, type Reply, SmtpSession } from './smtp-session.ts'
import { type Message, type Transport, type Verdict, words } from './transport.ts'

/** A server that wants another login, or none of ours: no mail is to blame for that. */
const NOT_LET_IN = [530, 534, 535, 538]

/** An SMTP server. One connection for a whole run, opened with the first mail. */
export function smtp(server: SmtpServer): Transport {
  let opened: Promise<SmtpSession> | undefined
  return {
    async send(message) {
      try {
        opened ??= SmtpSession.open(server, domainOf(message.from.address))
        return await hand(await opened, message)
      } catch (error) {
        return { outcome: error instanceof Lost ? 'away' : 'failed', detail: words(error) }
      }
    },
    close: async () => (await opened?.catch(() => undefined))?.close(),
  }
}

async function hand(session: SmtpSession, message: Message): Promise<Verdict> {
  const { from, to } = message
  if (/[\s<>\p{Cc}]/u.test(to)) return { outcome: 'refused', detail: 'The recipient is no address.' }
  const isForeign = /[^\x20-\x7e]/.test(to + from.address)
  if (isForeign && !session.offers('SMTPUTF8'))
    return { outcome: 'refused', detail: 'The server takes no addresses beyond ASCII (SMTPUTF8).' }
  session.begin()
  const mine = await session.say(`MAIL FROM:<${from.address}>${isForeign ? ' SMTPUTF8' : ''}`)
  // The sender is the same for all.
  if (mine.code !== 250) return { outcome: 'away', detail: `MAIL_FROM: the server says ${mine.code} ${mine.text}` }
  const theirs = await session.say(`RCPT TO:<${to}>`)
  if (theirs.code !== 250 && theirs.code !== 251) return reset(session, theirs)
  const ready = await session.say('DATA')
  if (ready.code !== 354) return reset(session, ready)
  const taken = await session.sayMessage(compose(message))
  return taken.code === 250 ? { outcome: 'accepted' } : reset(session, taken)
}

/** What the server said no to, and a fresh start for the next mail. */
async function reset(session: SmtpSession, { code, text }: Reply): Promise<Verdict> {
  const detail = `The server says ${code} ${text}`
  if (NOT_LET_IN.includes(code)) return { outcome: 'away', detail: `SMTP_URL: ${detail}` }
  const outcome = code >= 500 ? 'refused' : 'failed'
  try {
    await session.say('RSET')
    return { outcome, detail }
  } catch {
    // It is the server that is gone; but it has spoken of this mail.
    return { outcome: outcome === 'refused' ? outcome : 'away', detail }
  }
}
