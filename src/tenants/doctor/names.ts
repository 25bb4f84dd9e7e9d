/** The names that Freehold gives what it makes at Neon. A branch or login with another name is somebody else's, and never judged. */

const ID = '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}'
/**
 * Branches that belong to one tenant, whose id is in their name: its own, one kept of before a migration, one that an undo
 * left, one of an earlier moment, one that a restore left.
 */
const BRANCHES = [
  `^tenant-(${ID})$`,
  `^tenant-(${ID})-before-\\d+-\\d+$`,
  `^tenant-(${ID})-undone-[\\w-]+$`,
  `^tenant-(${ID})-at-[0-9a-f]{8}$`,
  `^tenant-(${ID})-left-[\\w-]+$`,
].map((form) => new RegExp(form))
/** The logins of a tenant: the first twelve digits of its id are in their names (provisioning/logins.ts). */
const LOGIN = /^freehold_(app|owner)_([0-9a-f]{12})(?:_[a-z])?$/

/** What the name of a project ends with that the doctor deletes. */
export const REMOVED = '-removed'
/** The projects of hosts (provisioning/host-names.ts). Older ones do not have the deployment; those that a move made have its number. */
const PROJECT = new RegExp(
  `^freehold-(?:host-|branches-|tenant-)(?:([0-9a-f]{8})-)?(?:\\d+|(${ID})(?:-[0-9a-f]{8})?)(?:${REMOVED})?$`,
)

/** The deployment and the tenant in the name of a project, null: it has none; undefined: Freehold gives no such names. */
export function projectName(name: string): { deployment: string | null; tenant_id: string | null } | undefined {
  const [whole, deployment = null, tenant_id = null] = PROJECT.exec(name) ?? []
  return whole === undefined ? undefined : { deployment, tenant_id }
}

/** The id of the tenant that a branch belongs to by its name; null: the branch is none of ours. */
export const tenantOfBranch = (name: string): string | null =>
  BRANCHES.map((pattern) => pattern.exec(name)?.[1]).find((id) => id !== undefined) ?? null

/** Which login of a tenant a role is by its name, and the beginning of the tenant's id; null: it is none of ours. */
export function loginOf(role: string): { kind: 'app' | 'owner'; short: string } | null {
  const [, kind, short] = LOGIN.exec(role) ?? []
  return kind && short ? { kind: kind as 'app' | 'owner', short } : null
}

/** The beginning of a tenant's id in the names of its logins. */
export const shortOf = (tenant_id: string) => tenant_id.replaceAll('-', '').slice(0, 12)
