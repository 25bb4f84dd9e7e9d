import type { EmailBinding } from '../../kernel/email-binding.ts'
import { type Transport, words } from './transport.ts'

/** Codes of Cloudflare Email Service about the recipient or the message: permanent for this mail. */
const PERMANENT = /^E_(RECIPIENT_(SUPPRESSED|NOT_ALLOWED)|CONTENT_TOO_LARGE|VALIDATION_ERROR|HEADER_\w+)$/
/** Codes about the account or the sender: no mail can be sent. */
const UNAVAILABLE = ['E_SENDER_NOT_VERIFIED', 'E_SENDER_DOMAIN_NOT_AVAILABLE', 'E_RATE_LIMIT_EXCEEDED', 'E_DAILY_LIMIT_EXCEEDED']

/** Cloudflare's e-mail binding. It sets the Message-ID itself, so the mail's own id is sent in a header of ours. */
export const binding = (email: EmailBinding): Transport => ({
  async send({ id, from, to, subject, text, html }) {
    // Seen here and not when settings are read: a binding without it must not fail requests that send no mail.
    if (typeof email.send !== 'function')
      return { outcome: 'unavailable', detail: 'EMAIL has no send(): declare it under send_email in wrangler.toml.' }
    try {
      const sender = from.name === null ? from.address : { email: from.address, name: from.name }
      await email.send({ from: sender, to, subject, text, html, headers: { 'X-Mail-Id': id } })
      return { outcome: 'accepted' }
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? String(error.code) : ''
      const outcome = PERMANENT.test(code) ? 'refused' : UNAVAILABLE.includes(code) ? 'unavailable' : 'failed'
      return { outcome, detail: `EMAIL: ${code} ${words(error)}` }
    }
  },
  close: async () => undefined,
})
