/** A username for who is known by e-mail: the part before the @, as far as a username may hold it and begin with it. */
export const usernameFrom = (email: string) =>
  (email.split('@')[0] ?? '').replace(/^[^a-z0-9]+|[^a-z0-9._-]/g, '').slice(0, 64) || 'admin'
