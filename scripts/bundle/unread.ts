/**
 * In place of `postgres-date` and `postgres-interval` (wrangler.toml, alias), which read moments and intervals for pg-types: drizzle gives
 * each of these types a parser of its own, by which they stay text.
 */
export default String
