/** What the local mailbox holds: what people would have been sent. */
import { inject } from 'vitest'
import type { Mail } from '../../scripts/dev/mailbox-pages.ts'

export type Received = Mail & {
  /** Of the link, from its fragment; null when the mail has none. */
  token: string | null
  /** A code that is sent to a phone. */
  code: string | null
}

/** What lies there for an address or a phone number, oldest first. */
export async function mailboxOf(to: string): Promise<Received[]> {
  const answer = await fetch(`${inject('settings').MAILBOX_URL}/mails.json?to=${encodeURIComponent(to)}`)
  const mails = (await answer.json()) as Mail[]
  return mails.reverse().map((mail) => {
    const token = /#token=([^\s"]+)/.exec(mail.text)?.[1]
    return { ...mail, token: token ? decodeURIComponent(token) : null, code: /\b\d{4,8}\b/.exec(mail.text)?.[0] ?? null }
  })
}

/** Waits until so many are there for an address (5 s at most), and gives them, oldest first. */
export const mailsTo = (to: string, count = 1): Promise<Received[]> => counted(to, count, () => true)

/** The same of mails with a link, and gives their tokens: a notice may lie between two of them, or not yet. */
export const linksTo = async (to: string, count = 1): Promise<string[]> =>
  (await counted(to, count, ({ token }) => token !== null)).map(({ token }) => token ?? '')

async function counted(to: string, count: number, isMeant: (mail: Received) => boolean): Promise<Received[]> {
  for (const until = Date.now() + 5_000; ; await new Promise((done) => setTimeout(done, 20))) {
    const all = await mailboxOf(to)
    const mails = all.filter(isMeant)
    if (mails.length >= count) return mails
    if (Date.now() > until)
      throw new Error(`${mails.length} of ${count} mails to ${to}: ${JSON.stringify(all.map(({ subject }) => subject))}`)
  }
}
