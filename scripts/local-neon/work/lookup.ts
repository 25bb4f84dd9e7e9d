import { inBranch } from '../state/records.ts'
import type { Store } from '../state/store.ts'

/** The databases of a branch, the oldest first. */
export const databasesOf = (store: Store, branchId: string) => store.all('database').filter((one) => one.branch_id === branchId)

/** The roles of a branch, the oldest first. */
export const rolesOf = (store: Store, branchId: string) => store.all('role').filter((one) => one.branch_id === branchId)

/** The endpoints of a branch, the oldest first. */
export const endpointsOf = (store: Store, branchId: string) => store.all('endpoint').filter((one) => one.branch_id === branchId)

/** A role's name in the cluster. Roles made by SQL have the same everywhere. */
export const realRole = (store: Store, branchId: string, name: string) =>
  store.get('role', inBranch(branchId, name))?.real_name ?? name

/** What is kept of earlier moments of branches, which goes with them. */
export const marksOf = (store: Store, branchIds: Set<string>) => store.all('mark').filter((mark) => branchIds.has(mark.branch_id))
