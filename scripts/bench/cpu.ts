import { load, type Target } from './load.ts'
import type { Stage } from './stage.ts'

/** Milliseconds of workerd's CPU for each of `count` equal requests. */
export async function cpuEach({ workerd }: Stage, count: number, width: number, target: Target): Promise<number> {
  const before = await workerd.cpuMs()
  await load(count, width, () => target)
  return ((await workerd.cpuMs()) - before) / count
}
