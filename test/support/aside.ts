/**
 * Requests of the Worker in this isolate, whose work beside the answer is done when they return: a test may look for what it wrote.
 * Not waited for is a checkpoint whose turn has not come (src/tenants/maintenance/soon.ts): it comes up to 2 s later, with nothing
 * but the numbers of events, and each request that wrote something would take so long.
 */
import { type Aside, watchAside } from './production.ts'

/** Asks with a context of its own, and waits for the work that it was given. Fails if that does. */
export async function askAside<T>(ask: (context: ExecutionContext) => T | Promise<T>): Promise<T> {
  const aside: Aside = { open: 0, waiting: 0, wake: () => {} }
  const failures: unknown[] = []
  let left = 0
  const waitUntil = (work: Promise<unknown>) => {
    left++
    work
      .catch((error) => failures.push(error))
      .finally(() => {
        left--
        aside.wake()
      })
  }
  const context = { waitUntil, passThroughOnException() {}, props: {} } as unknown as ExecutionContext
  const answer = await watchAside(aside, () => ask(context))
  while (left > aside.waiting || (left && aside.open))
    await new Promise<void>((wake) => {
      aside.wake = wake
    })
  if (failures.length) throw failures[0]
  return answer
}
