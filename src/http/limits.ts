/** The limits as wrangler.toml has them, in a minute: the bindings do not tell. A test compares the two. */
export const LIMITS = {
  production: { ATTEMPTS: 600, FAILURES: 60, PRINCIPALS: 600 },
  local: { ATTEMPTS: 10_000, FAILURES: 10_000, PRINCIPALS: 100_000 },
}
