import type { Admin } from '../cluster/admin.ts'
import type { Pool } from '../sql/pool.ts'
import type { Store } from '../state/store.ts'

/** What the parts that change the cluster share. */
export interface Context {
  store: Store
  admin: Admin
  /** The connections that `/sql` keeps; they must let go of what is about to change. */
  pool: Pool
}
