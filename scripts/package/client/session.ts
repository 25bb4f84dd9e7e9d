/**
 * The tokens of one session. A refresh token works once: of many calls that find the access token expired, one exchanges it and the
 * others wait for it. The lifetime is counted from when the tokens arrived, on a clock that nobody sets, so that a device whose clock
 * is wrong refreshes neither too often nor too late.
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
  /** Takes the tokens of a login; null ends the session here. */
  set(tokens: Kept | Tokens | null): void
  /** An access token that is not known to be expired, or null without a session. */
  token(): Promise<string | null>
  /** Exchanges the refresh token, unless `used` was exchanged meanwhile. Returns the new access token, or null without a session. */
  renew(used: string): Promise<string | null>
}

/** An access token is exchanged this long before it expires, so that it does not expire on its way. */
const EARLY_MS = 15_000

/** `exchange` asks the service; `keep` is told of new tokens, and of the end. */
export function sessionOf(
  kept: Kept | null,
  exchange: (refresh_token: string) => Promise<Tokens>,
  keep: (tokens: Tokens | null) => void,
): Session {
  let tokens = kept
  let expires = Number.POSITIVE_INFINITY
  let renewing: Promise<void> | null = null

  const set = (given: Kept | Tokens | null) => {
    tokens = given
    expires = given && 'expires_in' in given ? performance.now() + given.expires_in * 1000 : Number.POSITIVE_INFINITY
    if (given === null || 'expires_in' in given) keep(given)
  }
  const renewed = async ({ refresh_token }: Kept) => {
    try {
      const fresh = await exchange(refresh_token)
      // Who logged in or out meanwhile has the last word.
      if (tokens?.refresh_token === refresh_token) set(fresh)
    } catch (error) {
      const isOver = error instanceof ProblemError && error.status >= 400 && error.status < 500 && error.status !== 429
      if (isOver && error.code !== 'unexpected_answer' && tokens?.refresh_token === refresh_token) set(null)
      throw error
    }
  }
  const renew = async (used: string) => {
    if (tokens?.access_token === used) {
      renewing ??= renewed(tokens).finally(() => {
        renewing = null
      })
      await renewing
    }
    return tokens?.access_token ?? null
  }
  return {
    get tokens() {
      return tokens && { access_token: tokens.access_token, refresh_token: tokens.refresh_token }
    },
    set,
    token: async () => {
      const known = tokens?.access_token
      return known !== undefined && performance.now() > expires - EARLY_MS ? renew(known) : (known ?? null)
    },
    renew,
  }
}
