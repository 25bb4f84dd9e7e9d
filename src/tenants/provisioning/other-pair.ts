/**
 * The logins of a tenant that are not in use: the former ones after a rotation, the new ones of one that failed. Threat: the ones that are
 * dropped are the tenant's. So their names are those of the pair that the tenant's own connection string does not have.
 */
import { isolations } from './isolation.ts'
import type { Job } from './job.ts'
import { dropLogins, type Pair } from './logins.ts'

export const otherPair = (pair: Pair): Pair => (pair === 'a' ? 'b' : 'a')

/** Drops them, where there are some. Transactions that began before go on. Repeatable. */
export async function dropOtherPair(job: Job): Promise<void> {
  const { id, pair, isolation, database_name } = job.tenant
  const at = await isolations[isolation]?.cluster(job)
  if (at) await dropLogins(at, { id, pair: otherPair(pair) }, database_name)
}
