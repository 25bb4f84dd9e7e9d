import type { Preset, PresetRole, Scope } from './preset.ts'

/** How a preset writes down what a role may do: how far, which actions by their letters, on what. */
export type Row = [scope: Scope, letters: string, ...resources: string[]]
type Grants = PresetRole['grants']
export type Grant = Grants[number]

/** The letters of the actions, also in docs/presets.md. */
export const LETTERS: Record<string, string> = {
  C: 'create',
  R: 'read',
  U: 'update',
  D: 'delete',
  A: 'approve',
  V: 'review',
  X: 'export',
}

const WIDENING: Scope[] = ['own', 'team', 'department', 'all']
export const isWider = (one: Scope, other: Scope) => WIDENING.indexOf(one) > WIDENING.indexOf(other)

/** What everybody may: see and mend what is their own, and end their sessions. */
export const SELF: Row[] = [
  ['own', 'RU', 'user'],
  ['own', 'RD', 'session'],
]

/** The grants that rows stand for. Where two of them name one permission, the wider counts. */
export const grants = (...rows: Row[]): Grants =>
  widest(
    rows.flatMap(([scope, letters, ...on]) =>
      on.flatMap((r) => [...letters].map((l): Grant => [`${r}:${LETTERS[l] ?? l}`, scope])),
    ),
  )

/** Each permission once, at the widest scope that is given for it. */
export function widest(given: Grants): Grants {
  const held = new Map<string, Scope>()
  for (const [permission, scope] of given) {
    const known = held.get(permission)
    if (!known || isWider(scope, known)) held.set(permission, scope)
  }
  return [...held]
}

/** What a role of a preset may, and how far, with all that it inherits. */
export function reachOf(preset: Preset, name: string): Map<string, Scope> {
  const role = preset.roles.find((other) => other.name === name)
  if (!role) throw new Error(`The preset ${preset.name} has no role ${name}.`)
  const inherited: Grants = role.parent ? [...reachOf(preset, role.parent)] : []
  return new Map(widest([...inherited, ...role.grants]))
}
