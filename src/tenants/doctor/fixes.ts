/** What the doctor does about what it finds. Each may be repeated, and each is checked again before. */
import { sql } from 'drizzle-orm'
import { batch } from '../../kernel/db.ts'
import { erase } from '../lifecycle/erasure.ts'
import { deleteEntries } from '../lifecycle/kv-pass.ts'
import { propagate } from '../lifecycle/lifecycle.ts'
import { rotateKeys } from '../lifecycle/rotating.ts'
import { compareAgain } from '../migration/drift.ts'
import { resumeStale } from '../provisioning/provisioning.ts'
import { kvKey } from '../registry/registry.ts'
import { free, goOnMoving, openClosed } from './closed.ts'
import type { ASK, Finding, SAFE } from './findings.ts'
import { placedOn, type Sources } from './part.ts'
import { removeAtNeon } from './removal.ts'

/** Does it, and says in a sentence what was done. */
type Fix = (sources: Sources, found: Finding) => Promise<string>

/** Marked first: when KV takes no write now, the scheduled job writes the entry later. */
const republish: Fix = async (sources, { tenant_id }) => {
  const id = String(tenant_id)
  await batch(sources.config.MASTER_DATABASE_URL, [
    sql`update platform.tenants t set published_v = -1 where t.id = ${id} and t.published_v = t.v`,
  ])
  await propagate({ ...sources, meter: { master: 0 } }, id)
  return 'The entry was written again.'
}

const remove: Fix = async (sources, found) => {
  await removeAtNeon(sources, found)
  return found.code === 'login_of_nobody' ? 'The login was dropped.' : 'It was deleted.'
}

export const FIXES: Record<(typeof SAFE)[number] | (typeof ASK)[number], Fix> = {
  async host_counted({ config }, { subject }) {
    await batch(config.MASTER_DATABASE_URL, [
      sql`select from platform.hosts h where h.name = ${subject} for update`,
      sql`update platform.hosts h set taken = x.placed, capacity = greatest(h.capacity, x.placed)
          from (select case y.kind when 'project' then 1 else ${placedOn(sql`y.id`)} end as placed from platform.hosts y where y.name = ${subject}) x
          where h.name = ${subject}`,
    ])
    return 'Its tenants were counted again.'
  },
  kv_missing: republish,
  kv_forged: republish,
  kv_stale: republish,
  kv_other: republish,
  async kv_orphaned({ env, config, trace_id }, { subject }) {
    await deleteEntries(env, config, [subject.slice(kvKey('').length)], trace_id)
    return 'The key was deleted.'
  },
  database_of_nobody: remove,
  template_stale: remove,
  branch_of_nobody: remove,
  login_of_nobody: remove,
  project_of_nobody: remove,
  async drifted({ config, trace_id }, { tenant_id }) {
    const count = await compareAgain(config, String(tenant_id), trace_id)
    return count
      ? `It was compared again, and nothing was changed: ${count} objects differ.`
      : 'It was compared again: nothing differs.'
  },
  async provisioning_stuck({ env, config }) {
    await resumeStale(env, config)
    return 'The next attempt was started.'
  },
  async erasure_stuck({ env, config, trace_id }, { tenant_id }) {
    await erase(env, config, String(tenant_id), trace_id)
    return 'The erasure went on.'
  },
  move_stuck: goOnMoving,
  tenant_taken: free,
  tenant_closed: openClosed,
  async rotation_stuck(sources, { tenant_id }) {
    await rotateKeys({ ...sources, meter: { master: 0 } }, String(tenant_id))
    return 'The rotation went on.'
  },
}
