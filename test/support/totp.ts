/** Codes of an authenticator app. */
import { Secret, TOTP } from 'otpauth'

/** The code of a secret, `steps` of 30 s from now. */
export const codeOf = (secret: string, steps = 0) =>
  new TOTP({ secret: Secret.fromBase32(secret) }).generate({ timestamp: Date.now() + steps * 30_000 })

/** Waits for the next time step where this one ends soon: a code of one step ago would be refused a moment later. */
export async function earlyInStep() {
  const left = 30_000 - (Date.now() % 30_000)
  if (left < 8_000) await new Promise((done) => setTimeout(done, left))
}
