import { app } from './app.ts'
import { filesOf } from './avatars/store.ts'
import { ringAll } from './http/bells.ts'
import { newTraceId } from './http/trace.ts'
import { configOf } from './kernel/config.ts'
import { useSqlUrl } from './kernel/db.ts'
import type { Env } from './kernel/env.ts'
import { log } from './kernel/log.ts'
import { warnOfLicenses } from './tenants/licenses/warnings.ts'
import { eraseStale } from './tenants/lifecycle/erasure.ts'
import { comparePass } from './tenants/lifecycle/kv-pass.ts'
import { reconcile } from './tenants/lifecycle/reconcile.ts'
import { rotateStale } from './tenants/lifecycle/rotating.ts'
import { freeSubdomains } from './tenants/lifecycle/subdomains.ts'
import { deliverDue } from './tenants/maintenance/mail.ts'
import { runMaintenance } from './tenants/maintenance/maintenance.ts'
import { deliverDueEvents, deliverQueued, type Ringing } from './tenants/maintenance/webhooks.ts'
import { tendUndos } from './tenants/migration/put-back.ts'
import { tendMigrations } from './tenants/migration/touch.ts'
import { tendMoves } from './tenants/move/rest.ts'
import { resumeStale } from './tenants/provisioning/provisioning.ts'
import { tendRestores } from './tenants/restore/rest.ts'
import { tendCredentials } from './tenants/rotations/credentials.ts'
import { tendSigningKeys } from './tenants/rotations/signing.ts'

export { Bells } from './notifications/bell.ts'
export { Migration } from './tenants/migration/tenant.ts'
export { Move } from './tenants/move/move.ts'
export { NeonTurns } from './tenants/provisioning/neon-turns.ts'
export { Provisioning } from './tenants/provisioning/provisioning.ts'
export { Restore } from './tenants/restore/restore.ts'

export default {
  fetch: app.fetch,
  /**
   * Every minute: resumes stalled provisioning, erasures and rotations of keys, frees former names, propagates tenants that changed, compares the next
   * slice of KV with the master (all of it once a day), goes on with migrations, their undos, moves and restores, runs maintenance on active tenants (with the audit
   * checkpoint), and delivers mail, also that a license ends. Logs and audit have it under one trace id.
   */
  async scheduled(_controller, env) {
    const config = configOf(env)
    useSqlUrl(config.NEON_SQL_URL)
    const trace_id = newTraceId()
    const maintenance = warnOfLicenses(config, trace_id)
      .then(() => runMaintenance(config, trace_id, filesOf(env), (realm_id, rung) => ringAll(env, realm_id, rung)))
      .then(({ due, ringing }) => Promise.all([deliverDue(env, config, due), deliverDueEvents(env, config, ringing)]))
    // One after the other: an invocation has six connections.
    const registry = rotateStale(env, config, trace_id)
      .finally(() => tendSigningKeys(env, config, trace_id))
      .finally(() => freeSubdomains(env, config, trace_id))
      .finally(() => reconcile(env, config, trace_id))
      .finally(() => tendCredentials(env, config))
      .finally(() => comparePass(env, config, trace_id))
      .finally(() => tendMigrations(env, config, trace_id))
      .finally(() => tendUndos(env, config))
      .finally(() => tendMoves(env, config))
      .finally(() => tendRestores(env, config))
    const work = [resumeStale(env, config), eraseStale(env, config, trace_id), registry, maintenance]
    const results = await Promise.allSettled(work)
    for (const result of results)
      if (result.status === 'rejected') log('scheduled job failed', { trace_id, error: String(result.reason) })
  },
  /** Where the Queue DELIVERIES is bound: sends the events of one tenant. */
  async queue({ messages }, env) {
    const config = configOf(env)
    useSqlUrl(config.NEON_SQL_URL)
    await deliverQueued(env, config, messages)
  },
} satisfies ExportedHandler<Env, Ringing>
