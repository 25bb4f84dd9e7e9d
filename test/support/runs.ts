/** Migration runs are of the whole platform, one at a time: of the files that have some, one waits for the other. */
import { sql } from 'drizzle-orm'
import { vi } from 'vitest'
import { master } from './databases.ts'

const TURN = '00000000-0000-4000-8000-0000000000aa'

/** Waits until no other file has runs, and keeps them from having some until `endTurn`. */
export const awaitTurn = () =>
  vi.waitUntil(
    async () =>
      (
        await master(
          sql`insert into platform.migration_runs (id, target, state, concurrency, stop_percent, rest_from) values (${TURN}, 'the turn of a test', 'stopped', 1, 5, now()) on conflict do nothing returning id`,
        )
      ).length > 0,
    { timeout: 120_000, interval: 250 },
  )

/** Gives an attempt that the scheduled job began a moment to come to its end; no longer than the end takes. */
export const attempted = (isRunning: () => Promise<boolean>) =>
  vi.waitUntil(async () => !(await isRunning()), { timeout: 1_500, interval: 25 }).catch(() => undefined)

export const endTurn = () => master(sql`delete from platform.migration_runs where id = ${TURN}`)
