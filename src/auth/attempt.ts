/**
 * The Worker's part of an attempt at a password (attempts.sql), which logins and changes of a password or an address share. Threat:
 * the answer to a failed attempt tells a stranger whether there is such a user.
 */
import { Problem } from '../kernel/problem.ts'

/**
 * An attempt that began. `retry_after`: ten hashes of other systems were computed for this tenant within a minute; the seconds until
 * there may be another. Missing from a database that is a version behind.
 */
export type Attempt = { state: 'pending' | 'busy'; attempt: string; hash_parameters: string; retry_after?: number | null }

/** What a right password is told that was meant for a first login, and was not changed in time. */
export const firstPasswordExpired = () =>
  new Problem(
    'password_change_required',
    'This password was for a first login, and its time is over: ask for a link with auth/password-reset.',
  )

/** About as long as the hashes of other systems take that an isolate is busy with. */
const BUSY_SECONDS = 10

/**
 * Begins an attempt. While as many attempts of one user are pending as may fail, it waits for one to finish, a few seconds at
 * most. The wait is here and not in the database, where it would hold a connection. Fails with rate_limited.
 */
export async function beginAttempt<T extends { state: string }>(ask: () => Promise<T>): Promise<T> {
  for (const pause of [150, 300, 500, 800, 1000, 1000, 1500, 0]) {
    const attempt = await ask()
    if (attempt.state !== 'busy') return attempt
    await scheduler.wait(pause)
  }
  throw new Problem('rate_limited', 'Too many logins of this user are in progress.')
}

/**
 * What a failed attempt is told while too many hashes of other systems are computed for the tenant, whoever it was for: an imported
 * user may have been right, and nobody else must look different. null: they are not. `compared` is null when the isolate was too
 * busy to compute the digest.
 */
export function overload({ retry_after }: Attempt, compared: string | null): Problem | null {
  const seconds = compared === null ? BUSY_SECONDS : retry_after
  if (!seconds) return null
  const headers = { 'Retry-After': String(seconds) }
  return new Problem('rate_limited', 'The credentials are not valid, or too many imported users log in at once.', {
    headers,
    is_guess: true,
  })
}
