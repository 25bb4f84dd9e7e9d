import type { z } from 'zod'
import { Provisioning, type Step, Tenant } from './answers.ts'
import type { Api } from './api.ts'
import { following } from './following.ts'
import { plain } from './output.ts'
import { table } from './table.ts'

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
    for await (seen of following(api, Provisioning, `/tenants/${made.id}/provisioning`, stop)) {
      show(seen.data)
      if (seen.status !== 'provisioning') break
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
  const trace = step?.trace_id ? `\nTrace id: ${step.trace_id}` : ''
  return `The tenant ${name} was not created: ${why}${trace}\nTo continue where it stopped: freehold tenants retry ${name}`
}

/** The steps of a tenant with their trace ids, by which the log has them. */
export const stepTable = (steps: Step[]) =>
  table(
    ['STEP', 'STATE', 'TRIES', 'TRACE ID', 'ERROR'],
    steps.map(({ name, state, attempts, trace_id, error }) => [name, state, String(attempts), trace_id ?? '-', error ?? '-']),
  )
