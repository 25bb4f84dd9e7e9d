import type { SmtpServer } from '../../kernel/config.ts'
import { compose, domainOf } from './mime.ts'
import { Lost, type Reply, SmtpSession } from './smtp-session.ts'
import { type Message, type Transport, type Verdict, words } from './transport.ts'

/** Codes about the login, not about the mail. */
const LOGIN_REFUSED = [530, 534, 535, 538]

/** An SMTP server. One connection for a whole run, opened with the first mail. */
export function smtp(server: SmtpServer): Transport {
  let opened: Promise<SmtpSession> | undefined
  return {
    async send(message) {
      try {
        opened ??= SmtpSession.open(server, domainOf(message.from.address))
        return await sendOne(await opened, message)
      } catch (error) {
        return { outcome: error instanceof Lost ? 'unavailable' : 'failed', detail: words(error) }
      }
    },
    close: async () => (await opened?.catch(() => undefined))?.close(),
  }
}

async function sendOne(session: SmtpSession, message: Message): Promise<Verdict> {
  const { from, to } = message
  if (/[\s<>\p{Cc}]/u.test(to)) return { outcome: 'refused', detail: 'The recipient is not an address.' }
  const isForeign = /[^\x20-\x7e]/.test(to + from.address)
  if (isForeign && !session.offers('SMTPUTF8'))
    return { outcome: 'refused', detail: 'The server accepts only ASCII addresses (no SMTPUTF8).' }
  session.begin()
  const mine = await session.say(`MAIL FROM:<${from.address}>${isForeign ? ' SMTPUTF8' : ''}`)
  // The sender is the same for all mails, so that none can be sent.
  if (mine.code !== 250) return { outcome: 'unavailable', detail: `MAIL_FROM: the server says ${mine.code} ${mine.text}` }
  const theirs = await session.say(`RCPT TO:<${to}>`)
  if (theirs.code !== 250 && theirs.code !== 251) return reset(session, theirs)
  const ready = await session.say('DATA')
  if (ready.code !== 354) return reset(session, ready)
  const taken = await session.sayMessage(compose(message))
  return taken.code === 250 ? { outcome: 'accepted' } : reset(session, taken)
}

/** The verdict on a refused mail; resets the session for the next one. */
async function reset(session: SmtpSession, { code, text }: Reply): Promise<Verdict> {
  const detail = `The server says ${code} ${text}`
  if (LOGIN_REFUSED.includes(code)) return { outcome: 'unavailable', detail: `SMTP_URL: ${detail}` }
  const outcome = code >= 500 ? 'refused' : 'failed'
  try {
    await session.say('RSET')
    return { outcome, detail }
  } catch {
    // The server is gone, but a permanent refusal of this mail still counts.
    return { outcome: outcome === 'refused' ? outcome : 'unavailable', detail }
  }
}
