import type { Admin } from '../cluster/admin.ts'
import type { Store } from '../state/store.ts'
import type { Computes } from './computes.ts'
import type { Connections } from './connections.ts'

/** What the parts that change the cluster share. */
export interface Context {
  store: Store
  admin: Admin
  /** The connections that `/sql` uses. */
  pool: Connections
  computes: Computes
}
