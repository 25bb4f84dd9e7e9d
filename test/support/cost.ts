/**
 * What a hash costs in tests. Stacks run with LOW_COST, because most tests hash passwords without being about the hash; where
 * its cost is the claim, a test says REAL_ITERATIONS.
 */

/** The floor of production, and the default. */
export const REAL_ITERATIONS = 600_000

/** A setting of every stack that tests start. */
export const LOW_COST = { PASSWORD_HASH_ITERATIONS: '1000' }
