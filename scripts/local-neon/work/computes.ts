import { setTimeout as sleep } from 'node:timers/promises'
import type { Limits } from '../limits.ts'
import { asleep, awake, type Endpoint } from '../state/records.ts'
import type { Store } from '../state/store.ts'
import type { Connections } from './connections.ts'

export interface Computes {
  /** Wakes a suspended compute; all who come meanwhile wait for it. Fails with `TooManyActive`. */
  wake(endpoint: Endpoint): Promise<void>
  /** Says that a compute is in use: it is suspended when it was not for as long as its setting says. */
  used(id: string): void
  suspend(id: string): Promise<void>
  stop(): void
}

/** A project has as many active computes as it may; those of its default branch do not count. */
export class TooManyActive extends Error {}

interface Options {
  store: Store
  pool: Connections
  limits: Limits
  /** How long a suspended compute takes to wake. */
  wakeMs: number
}

/** What `suspend_timeout_seconds: 0` means. */
const DEFAULT_SUSPEND_SECONDS = 300
const LOOK_MS = 5_000

/** Suspends computes that nobody uses, and wakes them with the next request to `/sql`. */
export function openComputes({ store, pool, limits, wakeMs }: Options): Computes {
  const lastUsed = new Map<string, number>()
  const waking = new Map<string, Promise<void>>()

  async function suspend(id: string) {
    const endpoint = store.get('endpoint', id)
    if (endpoint?.current_state !== 'active') return
    store.put('endpoint', asleep(endpoint))
    await pool.closeEndpoint(id)
  }

  function suspendUnused() {
    for (const { id, current_state, suspend_timeout_seconds: wanted } of store.all('endpoint')) {
      if (current_state !== 'active' || wanted < 0) continue
      const since = lastUsed.get(id) ?? Date.now()
      lastUsed.set(id, since)
      if (Date.now() - since > (wanted || DEFAULT_SUSPEND_SECONDS) * 1000) void suspend(id)
    }
  }
  const looking = setInterval(suspendUnused, LOOK_MS).unref()

  function assertRoom({ project_id, branch_id }: Endpoint) {
    const isDefault = (branch: string) => store.get('branch', branch)?.default === true
    const active = store.all('endpoint').filter((one) => one.project_id === project_id && one.current_state === 'active')
    if (!isDefault(branch_id) && active.filter((one) => !isDefault(one.branch_id)).length >= limits.activeComputes)
      throw new TooManyActive('active endpoints limit exceeded')
  }

  async function start(id: string) {
    await sleep(wakeMs)
    const endpoint = store.get('endpoint', id)
    if (endpoint?.current_state !== 'idle') return
    assertRoom(endpoint)
    store.put('endpoint', awake(endpoint))
    lastUsed.set(id, Date.now())
  }

  return {
    async wake({ id, current_state }) {
      if (current_state !== 'idle') return
      const coming = waking.get(id) ?? start(id).finally(() => waking.delete(id))
      waking.set(id, coming)
      await coming
    },
    used: (id) => void lastUsed.set(id, Date.now()),
    suspend,
    stop: () => clearInterval(looking),
  }
}
