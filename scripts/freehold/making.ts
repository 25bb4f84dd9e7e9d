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

/** What is done in a new tenant before it is shown; gives what is shown of it. `password` is that of the administrator. */
export type Completing = { password: string; complete: (tenant: Tenant) => Promise<Record<string, string>> }

/** Creates a tenant, at the path that makes it, and shows its progress; at the end its address and first administrator. */
export async function create(
  api: Api,
  wanted: Record<string, string | boolean | undefined>,
  watching: Watching,
  path = '/tenants',
  completing?: Completing,
): Promise<void> {
  // From here on an interrupt stops only the waiting, not the program: the password is in this answer and in no later one.
  const interrupt = interrupted()
  const { initial_admin, ...made } = await api.call(MadeTenant, 'POST', path, { body: wanted })
  const admin = completing ? { ...initial_admin, password: completing.password } : initial_admin
  await watch(api, made, admin, watching, interrupt, completing)
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
  completing?: Completing,
) {
  const ending =
    wait === false
      ? { tenant: made, steps: [] as Step[], trouble: null }
      : await follow(api, made, { seconds: wait, signal, show: progressOn(process.stderr) })
  const { tenant, steps, trouble } = ending
  // The password is shown whatever becomes of this.
  const more: Record<string, string> | Error =
    trouble || !completing ? {} : await completing.complete(tenant).catch((error: Error) => error)
  const shown = more instanceof Error ? {} : more
  if (json)
    printJson({ ...tenant, ...(admin && { initial_admin: admin }), ...shown, ...(wait !== false && { provisioning: steps }) })
  else print(summary(tenant, admin, shown))
  if (more instanceof Error) throw more
  if (!trouble) return
  tell(trouble)
  process.exitCode = signal.aborted ? INTERRUPTED : 1
}

function summary(tenant: Tenant, admin: z.infer<typeof InitialAdmin> | null, more: Record<string, string>): string {
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
  const lines = [
    `Tenant ${subdomain}`,
    '',
    pairs([['status', status], ['url', url], ['id', id], ...password, ...Object.entries(more)]),
  ]
  if (admin?.password)
    lines.push(
      '',
      admin.must_change_password
        ? 'The password is shown only once. It works for 72 hours, and must be changed at the first login.'
        : 'The password is shown only once.',
    )
  return lines.join('\n')
}
