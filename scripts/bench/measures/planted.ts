import { type Planted, plant, publish } from '../registry.ts'
import type { Stage } from '../stage.ts'

type Many = { published: Planted[]; unpublished: Planted[] }
const made = new WeakMap<Stage, Promise<Many>>()

/** The many tenants of the first Worker, planted once: 10,000 of which KV has 1,000; of a quick run 2,000 and 200. */
export function plantedTenants(stage: Stage): Promise<Many> {
  const known = made.get(stage)
  if (known) return known
  const making = plantMany(stage)
  made.set(stage, making)
  return making
}

async function plantMany({ main, quick, say }: Stage): Promise<Many> {
  const all = await plant(main.config, quick ? 2_000 : 10_000)
  const published = all.slice(0, quick ? 200 : 1_000)
  await publish(main, published)
  say(`${all.length} tenants are planted.`)
  return { published, unpublished: all.slice(published.length) }
}
