/**
 * A login whose second factor is open, as whoever logs in holds it. Threat: somebody puts a secret of their own in the token of another
 * person's login, or reads the secret in it. So the token is sealed as a whole, for this realm: it holds the challenge's own token, of
 * which the database has the hash, and the encrypted TOTP secret, so that a code is compared in one round trip.
 */
import { z } from '@hono/zod-openapi'
import type { Ctx } from '../kernel/context.ts'
import { decrypt, encrypt } from '../kernel/keyring.ts'

export const Method = z.enum(['totp', 'passkey', 'backup_code', 'email_code']).openapi({
  description:
    'What auth/mfa/verify takes from this user. `email_code`: the login was risky, and a code was mailed to the user, who has no second factor',
})

export const MfaChallenge = z
  .object({
    mfa_required: z.literal(true),
    mfa_token: z.string().openapi({ description: 'Send it to auth/mfa/verify, with the second factor. It works once.' }),
    expires_in: z.int().openapi({ description: 'Seconds until the login has to begin again' }),
    methods: z.array(Method),
    remember_days: z.int().openapi({
      description: 'For how many days auth/mfa/verify remembers the device, where it is asked to; 0: not at all',
    }),
  })
  .openapi('MfaChallenge')

/** What the database says of a challenge that it opened (access.challenge). */
export type Open = {
  user_id: string
  methods: z.infer<typeof Method>[]
  expires_in: number
  totp: string | null
  /** Missing from a database that is a version behind. */
  remember_days?: number
}
/** A login that needs a second factor. */
export type Challenged = { challenge: z.infer<typeof MfaChallenge> }

/** The challenge as the login answers it. `token` is the one whose hash the database has. */
export async function challengeOf(ctx: Ctx, open: Open, token: string): Promise<Challenged> {
  const { user_id, methods, expires_in, totp, remember_days = 0 } = open
  const held = JSON.stringify([token, user_id, totp, remember_days])
  const mfa_token = await encrypt(ctx.config.ENCRYPTION_KEYS, ctx.realm.id, 'mfa_token', held)
  return { challenge: { mfa_required: true, mfa_token, expires_in, methods, remember_days } }
}

type Opened = { token: string; user_id: string; totp: string | null; remember_days: number }

/** What an mfa_token holds; null: it is not one of this realm. Whether it still counts the database knows. */
export async function openedChallenge(ctx: Ctx, mfa_token: string): Promise<Opened | null> {
  const text = await decrypt(ctx.config.ENCRYPTION_KEYS, ctx.realm.id, 'mfa_token', mfa_token).catch(() => null)
  if (text === null) return null
  // One that the previous release made says nothing of days.
  const [token, user_id, totp, remember_days = 0] = JSON.parse(text)
  return { token, user_id, totp, remember_days }
}
