/**
 * Codes of authenticator apps: TOTP (RFC 6238) with SHA-1, six digits and 30 s, which is what every app understands. Threat: a code
 * that is right for a clock that is far off, or a secret that can be guessed. So one step either side counts, and a secret has 160 bits.
 */
import { hmac } from '@noble/hashes/hmac.js'
import { sha1 } from '@noble/hashes/legacy.js'
// Without hashes of its own, which would be 5 KiB of the bundle.
import { Secret, TOTP } from 'otpauth/bare'
import { encode } from 'uqr'

const PERIOD = 30

/** A new secret, in base32. */
export const newSecret = (): string => new Secret({ size: 20 }).base32

const of = (secret: string, issuer = '', label = '') =>
  new TOTP({
    ...{ issuer, label, secret: Secret.fromBase32(secret), algorithm: 'SHA1', digits: 6, period: PERIOD },
    hmac: (_, key, message) => hmac(sha1, key, message),
  })

/** What an app reads: who issued the secret, for which account. */
export const uriOf = (secret: string, issuer: string, account: string): string => of(secret, issuer, account).toString()

/** The time step for which a code of six digits is right, of the current one and one either side; null: for none. `at` in ms. */
export function stepOf(secret: string, code: string, at = Date.now()): number | null {
  const delta = of(secret).validate({ token: code, timestamp: at, window: 1 })
  return delta === null ? null : Math.floor(at / 1000 / PERIOD) + delta
}

/** A text as a QR code: an SVG, black on white, one path of a run of modules each. */
export function qrOf(text: string): string {
  const { data, size } = encode(text, { ecc: 'M', border: 4 })
  const runs = data.flatMap((row, y) =>
    [
      ...row
        .map((dark) => (dark ? '#' : ' '))
        .join('')
        .matchAll(/#+/g),
    ].map(({ index, 0: run }) => `M${index} ${y}h${run.length}v1h-${run.length}z`),
  )
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size} ${size}" shape-rendering="crispEdges"><path fill="#fff" d="M0 0h${size}v${size}H0z"/><path d="${runs.join('')}"/></svg>`
}
