import type { EmailBinding } from '../../kernel/config.ts'
import { type Transport, words } from './transport.ts'

/** What Cloudflare says of a message that will never go out, whoever tries (Email Service, Workers API, error codes). */
const FOR_GOOD = [
  'E_RECIPIENT_NOT_ALLOWED',
  'E_RECIPIENT_SUPPRESSED',
  'E_VALIDATION_ERROR',
  'E_FIELD_MISSING',
  'E_CONTENT_TOO_LARGE',
]

/** Cloudflare's e-mail binding. It sets the Message-ID itself, so the mail's own id travels in a header of ours. */
export const binding = (email: EmailBinding): Transport => ({
  async send({ id, from, to, subject, text, html }) {
    try {
      const sender = from.name === null ? from.address : { email: from.address, name: from.name }
      await email.send({ from: sender, to, subject, text, html, headers: { 'X-Mail-Id': id } })
      return { outcome: 'accepted' }
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? String(error.code) : ''
      return { outcome: FOR_GOOD.includes(code) ? 'refused' : 'failed', detail: `EMAIL: ${code} ${words(error)}` }
    }
  },
  close: async () => undefined,
})
