/** The Worker as `npm start` runs it, on a port that was free a moment ago. */
import { setTimeout as pause } from 'node:timers/promises'
import { startWorker as start } from '../../../scripts/dev/worker.ts'

/** Starts it, again when it ended at once: another process may have had the port. Fails with what it said. */
export async function startWorker(options: Parameters<typeof start>[0]): ReturnType<typeof start> {
  for (let tries = 1; ; tries++) {
    const said: string[] = []
    try {
      return await start({ ...options, log: (line) => said.push(line) })
    } catch (error) {
      if (tries === 3) throw new Error(said.join('\n'), { cause: error })
      await pause(1_000)
    }
  }
}
