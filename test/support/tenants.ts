/**
 * Tenants that are copied, for tests that need one and are not about how it is made: the database is a copy of an empty,
 * migrated one, and the steps of provisioning that are left run here instead of in a Workflow. It takes a third of the time.
 */
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { batch, connect, dbError } from '../../src/kernel/db.ts'
import { encrypt } from '../../src/kernel/keyring.ts'
import { hash } from '../../src/passwords/hash.ts'
import { tenantMigrations } from '../../src/tenants/provisioning/bundled.ts'
import { jobOf, type MasterRow } from '../../src/tenants/provisioning/job.ts'
import { type Migration, migrate } from '../../src/tenants/provisioning/migrations.ts'
import { databaseName } from '../../src/tenants/provisioning/new-tenant.ts'
import { type Result, steps } from '../../src/tenants/provisioning/steps.ts'
import { atDatabase, master, settings } from './databases.ts'
import { ADMIN, newRuc } from './people.ts'

/** Under which the audit has what is made here. */
const TRACE = '00000000000000000000000000000001'

/** The database that is copied, on the first host. It holds the schema and no rows: no tenant, no keys. */
const TEMPLATE = 'copied_by_tests'

type Wanted = {
  legal_name?: string
  admin_email?: string
  config?: { origins?: string[] }
  /** Its database has the schema of the release before, as a tenant has it that no run has come to. */
  is_behind?: boolean
}

let password_hash: Promise<string> | undefined
const templates = new Map<string, Promise<void>>()

/**
 * An active tenant, with the roles of the preset `minimal` and bo as its administrator: as `makeTenant` leaves one, but without a
 * run of provisioning and its proof.
 */
export async function copyTenant(subdomain: string, wanted: Wanted = {}): Promise<{ id: string; tax_id: string }> {
  const { ENCRYPTION_KEYS, NEON_REGION, PASSWORD_HASH_ITERATIONS, TENANT_DB_TEMPLATE } = settings()
  const { legal_name = `${subdomain} S.A.C.`, admin_email = ADMIN.email, config = {}, is_behind = false } = wanted
  const [id, tax_id] = [crypto.randomUUID(), newRuc()]
  const database = databaseName(TENANT_DB_TEMPLATE, subdomain, id)
  password_hash ??= hash(ADMIN.password, PASSWORD_HASH_ITERATIONS)
  const admin = { email: admin_email, username: 'bo', password_hash: await password_hash, must_change_password: false }
  const sealed = await encrypt(ENCRYPTION_KEYS, id, 'initial_admin', JSON.stringify(admin))
  await master(
    sql`insert into platform.tenants (id, subdomain, legal_name, tax_id, country, region, admin_email, environment, status, isolation, role_preset, database_name, initial_admin_encrypted, config)
        values (${id}, ${subdomain}, ${legal_name}, ${tax_id}, 'PE', ${NEON_REGION}, ${admin_email}, 'demo', 'provisioning', 'database', 'minimal', ${database}, ${sealed}, ${JSON.stringify(config)}::jsonb)`,
  )
  const results: Record<string, Result> = {}
  const step = async (name: string) => {
    results[name] = await steps[name]?.({ ...(await job(id)), env, results })
  }
  await step('place')
  const { host } = (await job(id)).tenant
  const at = host?.owner_url ?? ''
  const [source, migrations] = is_behind ? [`${TEMPLATE}_before`, tenantMigrations.slice(0, -1)] : [TEMPLATE, tenantMigrations]
  const made = templates.get(source) ?? makeTemplate(at, source, migrations)
  templates.set(source, made)
  await made
  const copy = sql`create database ${sql.identifier(database)} template ${sql.identifier(source)} strategy file_copy`
  await connect(at).execute(copy)
  await step('logins')
  if (is_behind) await master(sql`update platform.tenants set schema_version = ${migrations.at(-1)?.name} where id = ${id}`)
  else await step('migrate')
  for (const name of ['seed', 'administrator', 'signing_key', 'publish', 'activate']) await step(name)
  return { id, tax_id }
}

/** Makes what is copied. Of the test runner's workers one makes it, and the others wait. */
async function makeTemplate(at: string, template: string, migrations: Migration[]): Promise<void> {
  const name = sql.identifier(template)
  try {
    await connect(at).execute(sql`create database ${name} strategy file_copy`)
  } catch (error) {
    if (dbError(error)?.code !== '42P04') throw error
    for (;;) {
      const [rows] = await batch(at, [sql`select datistemplate as ready from pg_database where datname = ${template}`])
      if (rows?.[0]?.ready) return
      await scheduler.wait(20)
    }
  }
  await batch(at, [
    sql`revoke connect, temporary on database ${name} from public`,
    sql`grant create on database ${name} to freehold_owner`,
  ])
  await migrate(atDatabase(at, template), migrations)
  await connect(at).execute(sql`alter database ${name} is_template true`)
}

async function job(id: string) {
  const [row] = await master(
    sql`select to_jsonb(t) as tenant, to_jsonb(h) as host from platform.tenants t left join platform.hosts h on h.id = t.host_id where t.id = ${id}`,
  )
  return jobOf(settings(), row?.tenant as MasterRow, row?.host as MasterRow | null, TRACE)
}
