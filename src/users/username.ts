/** A username for a user who is known by e-mail: the local part, as far as a username may hold it and begin with it; else `user`. */
export const usernameFrom = (email: string) =>
  (email.split('@')[0] ?? '').replace(/^[^a-z0-9]+|[^a-z0-9._-]/g, '').slice(0, 64) || 'user'
