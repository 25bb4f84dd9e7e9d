/**
 * The tokens of one session. Threat: a call that somebody made is sent as who logged in after them. A refresh token works once: of many
 * calls that find the access token expired, one exchanges it and the others wait for it. The lifetime is counted from when the tokens
 * arrived, on a clock that nobody sets, so that a device whose clock is wrong refreshes neither too often nor too late.
 */
import { ProblemError } from './problem.ts'

/** What a login and a refresh answer. */
export type Tokens = {
  access_token: string
  refresh_token: string
  /** Seconds. */
  expires_in: number
  must_change_password: boolean
  password_expires_at: string | null
  /** Of a login: keep it, and send it with the next login on this device. */
  device_token?: string
}

/** Tokens from before: of `tokens`, or from where you keep them. Without `expires_in` the service says when they have expired. */
export type Kept = Pick<Tokens, 'access_token' | 'refresh_token'>

export type Session = {
  readonly tokens: Kept | null
  /** Another number after each login and logout, not after an exchange. */
  readonly generation: number
  /** Takes the tokens of a login; null ends the session here. */
  set(tokens: Kept | Tokens | null): void
  /** An access token that is not known to be expired, or null without a session. Fails as `renew` does. */
  token(): Promise<string | null>
  /**
   * Exchanges the refresh token, unless `used` was exchanged meanwhile. Returns the new access token, or null without a session. Fails
   * with `session_changed` when the session is not that of this generation, or no longer.
   */
  renew(used: string, generation: number): Promise<string | null>
}

/** An access token is exchanged this long before it expires, so that it does not expire on its way. */
const EARLY_MS = 15_000
const CHANGED = 'Somebody logged in or out before this was sent'

/** `exchange` asks the service; `keep` is told of new tokens, and of the end. */
export function sessionOf(
  kept: Kept | null,
  exchange: (refresh_token: string) => Promise<Tokens>,
  keep: (tokens: Tokens | null) => void,
): Session {
  let tokens = kept
  let expires = Number.POSITIVE_INFINITY
  let renewing: Promise<void> | null = null
  let generation = 0

  const take = (given: Kept | Tokens | null) => {
    tokens = given
    expires = given && 'expires_in' in given ? performance.now() + given.expires_in * 1000 : Number.POSITIVE_INFINITY
    if (given === null || 'expires_in' in given) keep(given)
  }
  const renewed = async ({ refresh_token }: Kept) => {
    try {
      const fresh = await exchange(refresh_token)
      // Who logged in or out meanwhile has the last word.
      if (tokens?.refresh_token === refresh_token) take(fresh)
    } catch (error) {
      const isOver = error instanceof ProblemError && error.status >= 400 && error.status < 500 && error.status !== 429
      if (isOver && error.code !== 'unexpected_answer' && tokens?.refresh_token === refresh_token) take(null)
      throw error
    }
  }
  const renew = async (used: string, of: number) => {
    if (of === generation && tokens?.access_token === used) {
      const one = renewing ?? renewed(tokens)
      renewing = one
      await one
        .catch((error) => {
          if (of === generation) throw error
        })
        .finally(() => {
          if (renewing === one) renewing = null
        })
    }
    if (of !== generation) throw new ProblemError({ code: 'session_changed', status: 0, title: CHANGED })
    return tokens?.access_token ?? null
  }
  return {
    get tokens() {
      return tokens && { access_token: tokens.access_token, refresh_token: tokens.refresh_token }
    },
    get generation() {
      return generation
    },
    set: (given) => {
      generation++
      renewing = null
      take(given)
    },
    token: async () => {
      const known = tokens?.access_token
      return known !== undefined && performance.now() > expires - EARLY_MS ? renew(known, generation) : (known ?? null)
    },
    renew,
  }
}
