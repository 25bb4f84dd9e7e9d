import { setTimeout as pause } from 'node:timers/promises'
import type { z } from 'zod'
import { Provisioning, type Step, Tenant } from './answers.ts'
import type { Api } from './api.ts'
import { ApiProblem, Unreachable } from './failure.ts'
import { plain } from './output.ts'

const POLL_MS = 300
const TEMPORARY = [429, 502, 503, 504]

/** The state of a tenant when watching ends. `trouble` says why the tenant is not active, and what to do. */
export type Ending = { tenant: Tenant; steps: Step[]; trouble: string | null }

/**
 * Watches the provisioning of a tenant until it is active or failed, for `seconds` at most, or until the signal. Never throws.
 */
export async function follow(
  api: Api,
  made: Tenant,
  { seconds, signal, show }: { seconds: number; signal: AbortSignal; show: (steps: Step[]) => void },
): Promise<Ending> {
  const name = made.subdomain
  const later = `see: freehold tenants show ${name}`
  const stop = AbortSignal.any([signal, AbortSignal.timeout(seconds * 1000)])
  let seen: z.infer<typeof Provisioning> = { data: [], status: 'provisioning' }
  try {
    while (seen.status === 'provisioning' && !stop.aborted) {
      seen =
        (await api.call(Provisioning, 'GET', `/tenants/${made.id}/provisioning`, { signal: stop }).catch(ignoreTemporary)) ?? seen
      show(seen.data)
      if (seen.status === 'provisioning') await pause(POLL_MS, undefined, { signal: stop }).catch(() => undefined)
    }
    if (seen.status === 'provisioning') {
      const why = signal.aborted ? 'Interrupted' : `Not ready after ${seconds} s`
      return { tenant: made, steps: seen.data, trouble: `${why}. The tenant ${name} is still being created; ${later}` }
    }
    const tenant = await api.call(Tenant, 'GET', `/tenants/${made.id}`)
    return { tenant, steps: seen.data, trouble: seen.status === 'failed' ? failed(name, seen.data) : null }
  } catch (error) {
    const words = error instanceof Error ? error.message : String(error)
    return { tenant: made, steps: seen.data, trouble: `${words}\nThe tenant ${name} may still be in provisioning; ${later}` }
  }
}

/** Why a tenant failed, and how to continue. */
export function failed(name: string, steps: Step[]): string {
  const step = steps.find(({ state }) => state === 'failed')
  const tries = step && `${step.attempts} ${step.attempts === 1 ? 'try' : 'tries'}`
  const why = step
    ? `the step ${step.name} failed after ${tries}: ${plain(step.error ?? 'no reason was given')}`
    : 'provisioning was abandoned'
  return `The tenant ${name} was not created: ${why}\nTo continue where it stopped: freehold tenants retry ${name}`
}

/** Swallows temporary errors of the server; throws all others. */
function ignoreTemporary(error: unknown): null {
  if (error instanceof Unreachable || (error instanceof ApiProblem && TEMPORARY.includes(error.status))) return null
  throw error
}
