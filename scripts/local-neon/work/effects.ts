import { asleep, awake, type Effect } from '../state/records.ts'
import { buildBranch, removeBranch } from './branches.ts'
import type { Context } from './context.ts'
import { changeDatabase, createDatabase, dropDatabase } from './databases.ts'
import { createRole, dropRole, setPassword } from './roles.ts'

/** Applies the effect of an operation to the cluster. */
export async function apply(effect: Effect, context: Context): Promise<void> {
  switch (effect.do) {
    case 'fail':
      throw new Error('the operation was made to fail')
    case 'build_branch':
      return buildBranch(context, effect.branch_id)
    case 'remove_branch':
      return removeBranch(context, effect.branch_id)
    case 'start_endpoint':
      return startEndpoint(context, effect.endpoint_id)
    case 'stop_endpoint':
      return stopEndpoint(context, effect.endpoint_id)
    case 'create_role':
      return createRole(context, effect.branch_id, effect.name)
    case 'set_password':
      return setPassword(context, effect.branch_id, effect.name)
    case 'drop_role':
      return dropRole(context, effect.branch_id, effect.name)
    case 'create_database':
      return createDatabase(context, effect.branch_id, effect.name)
    case 'drop_database':
      return dropDatabase(context, effect.branch_id, effect.name)
    case 'change_database':
      return changeDatabase(context, effect.branch_id, effect.name)
  }
}

async function startEndpoint({ store }: Context, id: string) {
  const endpoint = store.get('endpoint', id)
  if (endpoint) store.put('endpoint', awake(endpoint))
}

async function stopEndpoint({ store, pool }: Context, id: string) {
  const endpoint = store.get('endpoint', id)
  if (endpoint?.deleting) store.drop('endpoint', endpoint)
  else if (endpoint) store.put('endpoint', asleep(endpoint))
  await pool.closeEndpoint(id)
}
