import type { Preset, PresetRole, Scope } from './preset.ts'

/** Permissions as a preset writes them: the scope, the actions by their letters, the resources. */
export type GrantRow = [scope: Scope, letters: string, ...resources: string[]]
type Grants = PresetRole['grants']
export type PresetGrant = Grants[number]

/** The letters of the actions, also in docs/presets.md. */
export const LETTERS: Record<string, string> = {
  C: 'create',
  R: 'read',
  U: 'update',
  D: 'delete',
  A: 'approve',
  V: 'review',
  X: 'export',
  I: 'impersonate',
  S: 'read_sensitive',
  Y: 'verify',
}

const WIDENING: Scope[] = ['own', 'team', 'department', 'all']
export const isWider = (one: Scope, other: Scope) => WIDENING.indexOf(one) > WIDENING.indexOf(other)

/** The permissions of every user: read and update their own data, and end their own sessions. */
export const SELF: GrantRow[] = [
  ['own', 'RU', 'user'],
  ['own', 'RD', 'session'],
]

/** The grants of some rows. Where two rows name the same permission, the wider scope counts. */
export const grants = (...rows: GrantRow[]): Grants =>
  widest(
    rows.flatMap(([scope, letters, ...on]) =>
      on.flatMap((r) => [...letters].map((l): PresetGrant => [`${r}:${LETTERS[l] ?? l}`, scope])),
    ),
  )

/** Each permission once, at its widest scope. */
export function widest(given: Grants): Grants {
  const held = new Map<string, Scope>()
  for (const [permission, scope] of given) {
    const known = held.get(permission)
    if (!known || isWider(scope, known)) held.set(permission, scope)
  }
  return [...held]
}

/** The permissions of a role, including inherited ones, with their scopes. */
export function reachOf(preset: Preset, name: string): Map<string, Scope> {
  const role = preset.roles.find((other) => other.name === name)
  if (!role) throw new Error(`The preset ${preset.name} has no role ${name}.`)
  const inherited: Grants = role.parent ? [...reachOf(preset, role.parent)] : []
  return new Map(widest([...inherited, ...role.grants]))
}
