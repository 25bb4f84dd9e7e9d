import { CHAIN, carriedBy, DELEGATED, DENIED, OTHER, OVERRIDDEN, permission, roleAt } from './grants.ts'

/** A hundred questions of every kind about somebody with grants as the asker's, about a person and a unit among others. */
export function hundredChecks({ person, unit }: { person: string; unit: string }): object[] {
  const ten = <T>(make: (n: number) => T) => Array.from({ length: 10 }, (_, n) => make(n))
  return [
    ...ten((n) => ({ permission: carriedBy(CHAIN, 0, n) })),
    ...ten((n) => ({ permission: carriedBy(CHAIN, n % 5, 10 + n) })),
    ...ten((n) => ({ permission: carriedBy(OTHER, n % 5, 20 + n) })),
    ...ten((n) => ({ permission: carriedBy(DELEGATED, n % 5, n) })),
    ...ten((n) => ({ permission: n % 2 ? DENIED : OVERRIDDEN })),
    // No role of the asker has the sixty permissions of level 0 of the first chain.
    ...ten((n) => ({ permission: permission(n) })),
    ...ten((n) => ({ any_of: [permission(n), permission(n + 10), carriedBy(OTHER, 2, n)] })),
    ...ten((n) => ({ role: `role ${roleAt(n, n % 5)}` })),
    ...ten((n) => ({ permission: carriedBy(CHAIN, 1, n), resource: { owner_id: person } })),
    ...ten((n) => ({ permission: carriedBy(CHAIN, 2, n), resource: { unit_id: unit } })),
  ]
}
