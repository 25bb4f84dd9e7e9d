/**
 * What guards every route, and that no event is lost, how large the Worker is, and what every newcomer meets. It takes long as well, but
 * no run of CI is without it: whichever part of `npm run test:faults` it runs, it runs these, too.
 */
export const ALWAYS = ['test/dev/bundle.node.test.ts', 'test/dev/start.node.test.ts', 'test/house/every-route.node.test.ts']

/** The same in workerd. */
export const ALWAYS_IN_WORKER = [
  'test/http/worst-bodies.test.ts',
  'test/idempotency/every-route.test.ts',
  'test/tenants/every-isolation.test.ts',
  'test/webhooks/delivery.test.ts',
]

/**
 * What takes its time by itself: processes that are killed, a browser, generated clients, earlier releases, bundles, and a command line
 * that is started very often.
 */
export const SLOW = [
  ...ALWAYS,
  'test/audit/verify.node.test.ts',
  'test/auth/foreign-login.node.test.ts',
  'test/browser/**/*.node.test.ts',
  'test/clients/**/*.node.test.ts',
  'test/dev/audit.node.test.ts',
  'test/dev/events.node.test.ts',
  'test/dev/placeholders.node.test.ts',
  'test/docs/guides.node.test.ts',
  'test/docs/operators-guides.node.test.ts',
  'test/freehold/doctor.node.test.ts',
  'test/freehold/examples-run.node.test.ts',
  'test/freehold/export.node.test.ts',
  'test/freehold/first-deploy-interrupted.node.test.ts',
  'test/freehold/first-deploy-refused.node.test.ts',
  'test/freehold/first-deploy.node.test.ts',
  'test/freehold/grants.node.test.ts',
  'test/freehold/keys-rotate.node.test.ts',
  'test/freehold/logs.node.test.ts',
  'test/freehold/migrate-undo.node.test.ts',
  'test/freehold/migrate.node.test.ts',
  'test/freehold/move.node.test.ts',
  'test/freehold/organizations.node.test.ts',
  'test/freehold/people.node.test.ts',
  'test/freehold/profiles.node.test.ts',
  'test/freehold/restoring.node.test.ts',
  'test/freehold/settings.node.test.ts',
  'test/freehold/tenants.node.test.ts',
  'test/freehold/terminal.node.test.ts',
  'test/freehold/usage.node.test.ts',
  'test/external/real.node.test.ts',
  'test/killed/**/*.node.test.ts',
  'test/migration/make.node.test.ts',
  'test/package/packed.node.test.ts',
  'test/planted/planted.node.test.ts',
  'test/releases/archive.node.test.ts',
  'test/releases/data.node.test.ts',
  'test/releases/worker.node.test.ts',
  'test/tenants/adopt-hosts.node.test.ts',
  'test/tenants/neon-turns.node.test.ts',
]

/**
 * What runs in workerd and takes long: life of tenants on hosts of their own, runs of migrations, jobs over the whole platform, limits of
 * time, receivers that are slow, thousands of lines, passwords of other systems.
 */
export const SLOW_IN_WORKER = [
  ...ALWAYS_IN_WORKER,
  'test/auth/foreign-login.test.ts',
  'test/tenants/adopt-reconnect.test.ts',
  'test/tenants/adopt-refusals.test.ts',
  'test/tenants/doctor-neon.test.ts',
  'test/tenants/doctor-project.test.ts',
  'test/tenants/drift.test.ts',
  'test/tenants/fleet.test.ts',
  'test/tenants/kv-pass.test.ts',
  'test/tenants/limits.test.ts',
  'test/tenants/move-bad-input.test.ts',
  'test/tenants/move.test.ts',
  'test/tenants/neon-turns.test.ts',
  'test/tenants/rename.test.ts',
  'test/tenants/rotate-credentials.test.ts',
  'test/tenants/rotate-signing-key.test.ts',
  'test/tenants/rotation-overlap.test.ts',
  'test/tenants/scheduled.test.ts',
  'test/users/import.test.ts',
]

/** Seconds of the longest files of `npm run test:faults` on two cores, so that no run is much longer than another. */
export const SECONDS: Record<string, number> = {
  'test/planted/planted.node.test.ts': 780,
  'test/faults/provisioning.test.ts': 620,
  'test/killed/killed.node.test.ts': 420,
  'test/faults/restore-faults.test.ts': 330,
  'test/faults/move-sql.test.ts': 300,
  'test/faults/undo-neon.test.ts': 170,
  'test/freehold/first-deploy-interrupted.node.test.ts': 130,
  'test/migration/make.node.test.ts': 110,
  'test/faults/minute.test.ts': 90,
  'test/faults/erasing.test.ts': 80,
  'test/freehold/first-deploy-refused.node.test.ts': 170,
  'test/tenants/adopt-hosts.node.test.ts': 160,
  'test/freehold/first-deploy.node.test.ts': 110,
  'test/docs/operators-guides.node.test.ts': 110,
  'test/users/import.test.ts': 100,
  'test/tenants/move-bad-input.test.ts': 90,
  'test/tenants/neon-turns.node.test.ts': 80,
  'test/freehold/keys-rotate.node.test.ts': 70,
  'test/freehold/usage.node.test.ts': 60,
}
/** Any other. */
export const SOME_SECONDS = 40
