/**
 * Migrations that the measured release has and the databases lack: those of the setting BENCH_MIGRATIONS. Imported before everything
 * else, because versions.ts reads the list once, when it is loaded.
 */
import { env } from 'cloudflare:workers'
import { tenantMigrations } from '../../../src/tenants/provisioning/bundled.ts'

tenantMigrations.push(...JSON.parse(env.BENCH_MIGRATIONS ?? '[]'))
