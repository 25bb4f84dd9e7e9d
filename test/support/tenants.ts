/**
 * Tenants that are copied, for tests that need one and are not about how it is made: the database is a copy of an empty,
 * migrated one, and the steps of provisioning that are left run here instead of in a Workflow. It takes a third of the time.
 */
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { batch, connect, dbError } from '../../src/kernel/db.ts'
import { encrypt } from '../../src/kernel/keyring.ts'
import { newToken, systemKeyOf } from '../../src/kernel/token.ts'
import { hash } from '../../src/passwords/hash.ts'
import { tenantMigrations } from '../../src/tenants/provisioning/bundled.ts'
import { type Job, jobOf, type MasterRow } from '../../src/tenants/provisioning/job.ts'
import { type Migration, migrate } from '../../src/tenants/provisioning/migrations.ts'
import { databaseName } from '../../src/tenants/provisioning/new-tenant.ts'
import { type Result, steps } from '../../src/tenants/provisioning/steps.ts'
import { firstSigningKey } from '../../src/tenants/registry/keys.ts'
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
  environment?: 'demo' | 'production'
  /** Its database has the schema of the release before, as a tenant has it that no run has come to. */
  is_behind?: boolean
  /** `branch`, `project`: a branch and a compute of its own, from Neon; the default is a copy in a shared branch. */
  isolation?: 'database' | 'branch' | 'project'
}

/** Whom this file has copied (retire.ts). */
export const copied: string[] = []

let password_hash: Promise<string> | undefined
const templates = new Map<string, Promise<void>>()

/**
 * An active tenant, with the roles of the preset `minimal` and bo as its administrator: as `makeTenant` leaves one, but without a
 * run of provisioning and its proof.
 */
export async function copyTenant(subdomain: string, wanted: Wanted = {}): Promise<{ id: string; tax_id: string }> {
  const { ENCRYPTION_KEYS, NEON_REGION, PASSWORD_HASH_ITERATIONS, TENANT_DB_TEMPLATE } = settings()
  const {
    legal_name = `${subdomain} S.A.C.`,
    admin_email = ADMIN.email,
    config = {},
    environment = 'production',
    is_behind = false,
    isolation = 'database',
  } = wanted
  const [id, tax_id] = [crypto.randomUUID(), newRuc()]
  copied.push(id)
  const database = databaseName(TENANT_DB_TEMPLATE, subdomain, id)
  password_hash ??= hash(ADMIN.password, PASSWORD_HASH_ITERATIONS)
  const admin = { email: admin_email, username: 'bo', password_hash: await password_hash, must_change_password: false }
  const sealed = await encrypt(ENCRYPTION_KEYS, id, 'initial_admin', JSON.stringify(admin))
  await master(
    sql`insert into platform.tenants (id, subdomain, legal_name, tax_id, country, region, admin_email, environment, status, isolation, role_preset, database_name, initial_admin_encrypted, config)
        values (${id}, ${subdomain}, ${legal_name}, ${tax_id}, 'PE', ${NEON_REGION}, ${admin_email}, ${environment}, 'provisioning', ${isolation}, 'minimal', ${database}, ${sealed}, ${JSON.stringify(config)}::jsonb)`,
  )
  const results: Record<string, Result> = {}
  const step = async (name: string) => {
    results[name] = await steps[name]?.({ ...(await job(id)), env, results })
  }
  await step('place')
  const migrations = is_behind ? tenantMigrations.slice(0, -1) : tenantMigrations
  if (isolation !== 'database') {
    for (const name of ['database', 'operations', 'logins']) await step(name)
    const { owner_url } = (await job(id)).tenant
    if (is_behind && isolation === 'branch') await startAgain(owner_url, migrations)
    else if (is_behind) await migrate(String(owner_url), migrations)
  } else {
    await copy(await job(id), is_behind, migrations)
    await step('logins')
  }
  if (is_behind) await master(sql`update platform.tenants set schema_version = ${migrations.at(-1)?.name} where id = ${id}`)
  else await step('migrate')
  await step('seed')
  if (is_behind) await finishBefore((await job(id)).tenant, admin)
  else for (const name of ['administrator', 'signing_key']) await step(name)
  for (const name of ['publish', 'activate']) await step(name)
  return { id, tax_id }
}

/** Copies the database of a tenant from the template. */
async function copy({ tenant }: Job, is_behind: boolean, migrations: Migration[]): Promise<void> {
  const at = tenant.host?.owner_url ?? ''
  const source = is_behind ? `${TEMPLATE}_before` : TEMPLATE
  const made = templates.get(source) ?? makeTemplate(at, source, migrations)
  templates.set(source, made)
  await made
  const to = sql.identifier(tenant.database_name)
  await connect(at).execute(sql`create database ${to} template ${sql.identifier(source)} strategy file_copy`)
}

/** Gives a branch, which has the newest schema from its template, an older one. */
async function startAgain(owner_url: string | null, migrations: Migration[]): Promise<void> {
  const asOwner = sql`set local role freehold_owner`
  await batch(String(owner_url), [asOwner, sql`drop schema freehold cascade`, sql`drop schema access cascade`])
  await migrate(String(owner_url), migrations)
}

type FirstAdmin = Record<'email' | 'username' | 'password_hash', string>

/** The first administrator and the keys of a tenant, as the release before made them. */
async function finishBefore({ id, owner_url }: { id: string; owner_url: string | null }, admin: FirstAdmin): Promise<void> {
  const { ENCRYPTION_KEYS } = settings()
  const refresh_key = newToken()
  const sealed = await encrypt(ENCRYPTION_KEYS, id, 'refresh_key', refresh_key)
  await master(
    await firstSigningKey({ ENCRYPTION_KEYS }, id),
    sql`update platform.tenants set refresh_key_encrypted = ${sealed} where id = ${id}`,
  )
  await batch(String(owner_url), [
    sql`set local role freehold_owner`,
    sql`insert into freehold.users (id, username, email, role) values (gen_random_uuid(), ${admin.username}, ${admin.email}, 'admin')`,
    sql`insert into freehold.passwords (id, user_id, password_hash) select gen_random_uuid(), u.id, ${admin.password_hash} from freehold.users u`,
    sql`update access.secrets set system_hash = sha256(convert_to(${await systemKeyOf(refresh_key)}, 'UTF8'))`,
  ])
}

/** Makes what is copied. Of the test runner's workers one makes it, and the others wait. */
async function makeTemplate(at: string, template: string, migrations: Migration[]): Promise<void> {
  const name = sql.identifier(template)
  try {
    await connect(at).execute(sql`create database ${name} strategy file_copy`)
  } catch (error) {
    // Whoever makes it at the same moment is told by the index.
    if (!/^(42P04|23505)$/.test(dbError(error)?.code ?? '')) throw error
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

/** Plans with these keys, without limits. */
export const makePlans = (...keys: string[]) =>
  master(
    sql`insert into platform.plans (key, name) select k, k from jsonb_array_elements_text(${JSON.stringify(keys)}::jsonb) k on conflict do nothing`,
  )
