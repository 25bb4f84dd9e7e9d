/**
 * The username that an e-mail address wishes for: its local part without the characters that a username may not have, or else
 * `user`. The database makes a free one of it (usernames.sql).
 */
export const usernameFrom = (email: string) =>
  (email.split('@')[0] ?? '').replace(/^[^a-z0-9]+|[^a-z0-9._-]/g, '').slice(0, 64) || 'user'
