/** What the doctor finds: each code with its check and its fix. docs/guides/doctor.md explains them. */

export const CHECKS = ['registry', 'kv', 'neon', 'work'] as const
export type Check = (typeof CHECKS)[number]

/** `safe`: loses nothing, and the scheduled job does the like. `ask`: destroys data, so the name must be repeated. */
type Kind = { check: Check; fix: 'safe' | 'ask' | null; fix_detail: string | null }

const told = (check: Check) => ({ check, fix: null, fix_detail: null })
const safe = (check: Check, fix_detail: string) => ({ check, fix: 'safe' as const, fix_detail })
const ask = (fix_detail: string) => ({ check: 'neon' as const, fix: 'ask' as const, fix_detail })

export const CODES = {
  tenant_incomplete: told('registry'),
  secret_unreadable: told('registry'),
  host_counted: safe('registry', 'Count its tenants again'),
  host_overfull: told('registry'),
  host_crowded: told('registry'),
  kv_missing: safe('kv', 'Write the entry again'),
  kv_forged: safe('kv', 'Write the entry again'),
  kv_stale: safe('kv', 'Write the entry again'),
  kv_other: safe('kv', 'Write the entry again'),
  kv_orphaned: safe('kv', 'Delete the key'),
  neon_unreadable: told('neon'),
  host_missing: told('neon'),
  database_missing: told('neon'),
  branch_missing: told('neon'),
  login_missing: told('neon'),
  database_of_nobody: ask('Delete the database with all that it holds'),
  template_stale: safe('neon', 'Drop it; it holds no data'),
  branch_of_nobody: ask('Delete the branch with all that it holds'),
  login_of_nobody: ask('Drop the login'),
  project_of_nobody: ask('Delete the project, if it holds no data of a tenant'),
  provisioning_stuck: safe('work', 'Start the next attempt'),
  erasure_stuck: safe('work', 'Go on with the erasure'),
  rotation_stuck: safe('work', 'Go on with the rotation'),
  move_stuck: safe('work', 'Go on with the move'),
  tenant_taken: safe('work', 'Give the tenant back'),
  tenant_closed: safe('work', 'Open its database'),
  restore_overdue: told('work'),
  host_stuck: told('work'),
  tenant_failed: told('work'),
  tenant_behind: told('work'),
  migration_failed: told('work'),
  drifted: safe('work', 'Compare its database again'),
  migration_stopped: told('work'),
  maintenance_overdue: told('work'),
  audit_head_missing: told('work'),
} as const satisfies Record<string, Kind>

export type Code = keyof typeof CODES

type Named<F> = { [C in Code]: (typeof CODES)[C]['fix'] extends F ? C : never }[Code]
const named = <F extends 'safe' | 'ask'>(fix: F) =>
  (Object.keys(CODES) as Code[]).filter((code) => CODES[code].fix === fix) as [Named<F>, ...Named<F>[]]

/** The codes of each kind of fix. */
export const SAFE = named('safe')
export const ASK = named('ask')

/**
 * Something that is not as it should be. `subject` names it: a tenant by its subdomain, a key of KV, a host by its name, what a host
 * has as `host/name`, a run by its id.
 */
export type Finding = Kind & { code: Code; subject: string; tenant_id: string | null; detail: string }

export const finding = (code: Code, subject: string, detail: string, tenant_id: string | null = null): Finding => {
  const { check, fix, fix_detail } = CODES[code]
  return { check, code, subject, tenant_id, detail, fix, fix_detail }
}
