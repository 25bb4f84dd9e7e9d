import type { Call } from './router.ts'

/** The names that the cluster has or is about to get. Call it before the check that uses them: it waits for the cluster. */
export async function takenNames({ admin, store }: Pick<Call, 'admin' | 'store'>) {
  const { databases, roles } = await admin.names()
  return {
    databases: () => new Set([...databases, ...store.all('database').map((one) => one.real_name)]),
    roles: () => new Set([...roles, ...store.all('role').map((one) => one.real_name)]),
  }
}
