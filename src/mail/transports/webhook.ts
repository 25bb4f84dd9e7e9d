import { postJson, type Transport } from './transport.ts'

/** Texts to phones, as `{to, text}` to a webhook. */
export const webhook = (url: string, token: string | undefined): Transport => ({
  send: ({ id, to, text }) =>
    postJson('SMS_WEBHOOK_URL', url, { ...(token && { Authorization: `Bearer ${token}` }), 'Idempotency-Key': id }, { to, text }),
  close: async () => undefined,
})
