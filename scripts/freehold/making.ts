import type { z } from 'zod'
import { type InitialAdmin, MadeTenant, type Step, Tenant } from './answers.ts'
import type { Api } from './api.ts'
import { print, printJson, tell } from './output.ts'
import { progressOn } from './progress.ts'
import { follow } from './provisioning.ts'
import { pairs } from './table.ts'

/** Seconds to wait until the tenant is active, or not at all. */
export type Watching = { json?: boolean; wait: number | false }

/** What a tenant is made with. */
export type Wanted = {
  legalName: string
  taxId?: string
  adminEmail: string
  country?: string
  contactName?: string
  plan?: string
  environment?: string
  isolation?: string
  region?: string
  rolePreset?: string
}

const INTERRUPTED = 130

/** Creates a tenant, at the path that makes it, and shows its progress; at the end its address and first administrator. */
export async function create(
  api: Api,
  wanted: Record<string, string | boolean | undefined>,
  watching: Watching,
  path = '/tenants',
): Promise<void> {
  // From here on an interrupt stops only the waiting, not the program: the password is in this answer and in no later one.
  const interrupt = interrupted()
  const { initial_admin, ...made } = await api.call(MadeTenant, 'POST', path, { body: wanted })
  await watch(api, made, initial_admin, watching, interrupt)
}

/** Retries a failed tenant and shows its progress. */
export async function retry(api: Api, tenant: Tenant, watching: Watching): Promise<void> {
  const interrupt = interrupted()
  await watch(api, await api.call(Tenant, 'POST', `/tenants/${tenant.id}/retry`), null, watching, interrupt)
}

function interrupted(): AbortSignal {
  const controller = new AbortController()
  process.once('SIGINT', () => controller.abort())
  return controller.signal
}

async function watch(
  api: Api,
  made: Tenant,
  admin: z.infer<typeof InitialAdmin> | null,
  { json, wait }: Watching,
  signal: AbortSignal,
) {
  const ending =
    wait === false
      ? { tenant: made, steps: [] as Step[], trouble: null }
      : await follow(api, made, { seconds: wait, signal, show: progressOn(process.stderr) })
  const { tenant, steps, trouble } = ending
  if (json) printJson({ ...tenant, ...(admin && { initial_admin: admin }), ...(wait !== false && { provisioning: steps }) })
  else print(summary(tenant, admin))
  if (!trouble) return
  tell(trouble)
  process.exitCode = signal.aborted ? INTERRUPTED : 1
}

function summary(tenant: Tenant, admin: z.infer<typeof InitialAdmin> | null): string {
  const { subdomain, status, url, id } = tenant
  const password: [string, string][] = admin
    ? [
        ['admin', admin.email],
        [
          'password',
          admin.password ?? (process.env.FREEHOLD_ADMIN_PASSWORD ? 'the value of FREEHOLD_ADMIN_PASSWORD' : 'as before'),
        ],
      ]
    : []
  const lines = [`Tenant ${subdomain}`, '', pairs([['status', status], ['url', url], ['id', id], ...password])]
  if (admin?.password)
    lines.push('', 'The password is shown only once. It works for 72 hours, and must be changed at the first login.')
  return lines.join('\n')
}
