import { sql } from 'drizzle-orm'
import { bigint, boolean, check, index, integer, jsonb, pgSchema, primaryKey, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core'
import { moment } from '../kernel/schema.ts'

/** The master: the tenants and where their databases are. Columns that end in `_encrypted` are encrypted (kernel/keyring.ts). */
export const platform = pgSchema('platform')

/** What a rotation of keys knows beside the newest key, `refresh_key_encrypted` (src/tenants/lifecycle/rotation.ts). */
const refreshKeys = {
  /** From then on the newest key is used, until then the former one; null: it was never rotated. */
  refresh_key_from: moment(),
  former_refresh_key_encrypted: text(),
}

/** The platform's own realm: its operators are users of the schema `freehold` beside this one. */
export const realm = platform.table(
  'realm',
  {
    one: boolean().primaryKey().default(true),
    id: uuid().notNull(),
    ...refreshKeys,
    refresh_key_encrypted: text().notNull(),
    created_at: moment().notNull().defaultNow(),
  },
  (t) => [check('realm_is_one', sql`${t.one}`)],
)

/**
 * The hosts that tenants are placed on: a branch that holds their databases (kind `database`), a template branch whose children they get
 * (`branch`), the project of one tenant alone (`project`), a database of somebody else's (`external`). `owner_url_encrypted` connects as
 * its API role to its own database, or is the connection string that was given.
 */
export const hosts = platform.table(
  'hosts',
  {
    id: uuid().primaryKey(),
    name: text().notNull().unique(),
    kind: text({ enum: ['database', 'branch', 'project', 'external'] }).notNull(),
    state: text({ enum: ['opening', 'open'] }).notNull(),
    region: text().notNull(),
    /** Of Neon's: the account by its name in the settings, and the organization (provisioning/accounts.ts). */
    account: text().notNull().default('default'),
    organization: text(),
    project_id: text(),
    branch_id: text(),
    owner_role: text(),
    owner_url_encrypted: text(),
    /** Of kind `external`: host/database, and what was found there when it was adopted. */
    address: text().unique(),
    found: jsonb(),
    capacity: integer().notNull(),
    taken: integer().notNull().default(0),
    /** Neon's message when it refused to create the host; nobody tries again before the lease expires. Of `external`: why it failed last. */
    refused: text(),
    /** The lease of the run that opens this host. */
    lease_until: moment().notNull(),
    /** A database that is being deleted there, and until when: meanwhile no tenant with this name is placed (doctor/removal.ts). */
    removing: text(),
    removing_until: moment(),
    created_at: moment().notNull().defaultNow(),
  },
  (t) => [
    uniqueIndex('hosts_one_opening').on(t.kind).where(sql`${t.state} = 'opening' and ${t.kind} <> 'project'`),
    check('hosts_room', sql`${t.taken} between 0 and ${t.capacity}`),
    check(
      'hosts_open',
      sql`${t.state} <> 'open' or num_nulls(${t.project_id}, ${t.branch_id}, ${t.owner_role}, ${t.owner_url_encrypted}) = 0
        or ${t.kind} = 'external' and num_nulls(${t.address}, ${t.found}, ${t.owner_url_encrypted}) = 0`,
    ),
  ],
)

export const tenants = platform.table(
  'tenants',
  {
    id: uuid().primaryKey(),
    subdomain: text().notNull(),
    legal_name: text().notNull(),
    tax_id: text(),
    /** Never null beside a tax id, which is of a country. */
    country: text(),
    admin_email: text().notNull(),
    contact_name: text(),
    region: text().notNull(),
    plan: text(),
    environment: text({ enum: ['demo', 'production'] }).notNull(),
    status: text({ enum: ['provisioning', 'active', 'inactive', 'failed', 'deleted', 'erasing'] }).notNull(),
    is_active: boolean().notNull().generatedAlwaysAs(sql`status = 'active'`),
    isolation: text({ enum: ['database', 'branch', 'project', 'external'] }).notNull(),
    role_preset: text().notNull(),
    limits: jsonb().$type<Record<string, number | boolean>>().notNull().default({}),
    config: jsonb().$type<Record<string, unknown>>().notNull().default({}),
    schema_version: text(),
    /** That of the preset it was last given (presets/version.ts). */
    presets_version: text(),
    users_counted: integer().notNull().default(0),
    database_name: text().notNull(),
    /** When the connection string of an adopted database was given. */
    connected_at: moment(),
    host_id: uuid().references(() => hosts.id),
    /** The tenant's own branch; null where it has none. */
    branch_id: text(),
    app_url_encrypted: text(),
    owner_url_encrypted: text(),
    ...refreshKeys,
    refresh_key_encrypted: text(),
    /** Since when its keys are being rotated, null: they are not; and the new key, which no isolate knows yet. */
    rotating_since: moment(),
    next_refresh_key_encrypted: text(),
    /** The move that is running: meanwhile nobody migrates the tenant or rotates its keys. */
    move_id: uuid(),
    initial_admin_encrypted: text(),
    v: bigint({ mode: 'number' }).notNull().default(0),
    /** The version that its own database and KV have; -1: the entry in KV is damaged, or may be an older one, and is to be written again. */
    published_v: bigint({ mode: 'number' }).notNull().default(0),
    created_at: moment().notNull().defaultNow(),
    updated_at: moment().notNull().defaultNow(),
    deleted_at: moment(),
    /** The lease of the run that erases this tenant. */
    erasing_until: moment(),
  },
  (t) => [
    uniqueIndex('tenants_subdomain').on(t.subdomain),
    uniqueIndex('tenants_tax_id').on(t.country, t.tax_id),
    uniqueIndex('tenants_database').on(t.host_id, t.database_name),
    index('tenants_created').on(t.created_at, t.id),
    // What changed and is not propagated yet: hardly ever a row, whatever the number of tenants.
    index('tenants_unpublished').on(t.id).where(sql`${t.published_v} < ${t.v}`),
    check('tenants_subdomain_form', sql`${t.subdomain} ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'`),
    // registry/configuration.ts says so, too, of what a request gives; what it leaves is known here.
    check(
      'tenants_config',
      sql`octet_length(${t.config}::text) <= 16384 and jsonb_array_length(jsonb_path_query_array(${t.config}, '$.keyvalue()')) <= 50`,
    ),
    check('tenants_status', sql`${t.status} in ('provisioning', 'active', 'inactive', 'failed', 'deleted', 'erasing')`),
  ],
)

/** One attempt to provision a tenant. It works only while it holds its lease; then the next attempt may take over. */
export const provisioning_runs = platform.table(
  'provisioning_runs',
  {
    id: uuid().primaryKey(),
    tenant_id: uuid()
      .notNull()
      .references(() => tenants.id),
    attempt: integer().notNull(),
    state: text({ enum: ['running', 'done', 'failed', 'superseded'] }).notNull(),
    lease_until: moment().notNull(),
    trace_id: text(),
    created_at: moment().notNull().defaultNow(),
    finished_at: moment(),
  },
  (t) => [
    uniqueIndex('provisioning_runs_attempt').on(t.tenant_id, t.attempt),
    uniqueIndex('provisioning_runs_one_running').on(t.tenant_id).where(sql`${t.state} = 'running'`),
    index('provisioning_runs_lease').on(t.lease_until).where(sql`${t.state} = 'running'`),
  ],
)

export const provisioning_steps = platform.table(
  'provisioning_steps',
  {
    tenant_id: uuid()
      .notNull()
      .references(() => tenants.id),
    position: integer().notNull(),
    name: text().notNull(),
    state: text({ enum: ['pending', 'running', 'done', 'failed'] })
      .notNull()
      .default('pending'),
    attempts: integer().notNull().default(0),
    started_at: moment(),
    finished_at: moment(),
    error: text(),
    trace_id: text(),
    /** What later steps need from this one; never a secret. */
    result: jsonb().$type<Record<string, unknown>>(),
  },
  (t) => [primaryKey({ columns: [t.tenant_id, t.name] })],
)

/** The maintenance queue. A tenant's database is maintained when it is due, and after it was active. */
export const maintenance = platform.table('maintenance', {
  realm_id: uuid()
    .primaryKey()
    .references(() => tenants.id, { onDelete: 'cascade' }),
  due_at: moment().notNull().defaultNow(),
  maintained_at: moment().notNull().default(sql`'-infinity'`),
  active_until: moment().notNull().default(sql`'-infinity'`),
  users_counted_at: moment(),
})

/**
 * A run that takes all tenants to the newest migration, `target`, wave by wave: a canary, 1 %, 10 %, those that are awake, the rest. It has no
 * process of its own: each tenant that is done, and the scheduled job, start what comes next, `concurrency` at once (tenants/migration/fleet.ts).
 */
export const migration_runs = platform.table(
  'migration_runs',
  {
    id: uuid().primaryKey(),
    target: text().notNull(),
    state: text({ enum: ['running', 'stopped', 'done'] }).notNull(),
    /** Why it stopped. */
    reason: text(),
    /** Tenants of this wave and of those before it may be migrated. */
    wave: integer().notNull().default(0),
    concurrency: integer().notNull(),
    /** It stops when more than this share of the tenants so far failed. */
    stop_percent: integer().notNull(),
    /** From when on the last wave may be migrated: all that are not awake. */
    rest_from: moment().notNull(),
    trace_id: text(),
    created_at: moment().notNull().defaultNow(),
    finished_at: moment(),
  },
  (t) => [uniqueIndex('migration_runs_one_running').on(sql`(${t.state} = 'running')`).where(sql`${t.state} = 'running'`)],
)

/** One tenant's way to a schema: one row for each schema, whichever run it belongs to. */
export const tenant_migrations = platform.table(
  'tenant_migrations',
  {
    tenant_id: uuid()
      .notNull()
      .references(() => tenants.id, { onDelete: 'cascade' }),
    target: text().notNull(),
    /** The latest run that it belongs to. */
    run_id: uuid().references(() => migration_runs.id),
    wave: integer().notNull(),
    state: text({ enum: ['pending', 'running', 'done', 'failed', 'undoing', 'undone'] }).notNull(),
    from_version: text(),
    attempts: integer().notNull().default(0),
    /** The lease of the attempt that runs. */
    lease_until: moment(),
    ms: integer(),
    step: text(),
    error: text(),
    drift: jsonb().$type<{ count: number; objects: { object: string; state: string }[] }>(),
    started_at: moment(),
    finished_at: moment(),
  },
  (t) => [
    primaryKey({ columns: [t.tenant_id, t.target] }),
    index('tenant_migrations_run').on(t.run_id, t.wave, t.state),
    index('tenant_migrations_pending').on(t.run_id, t.wave, t.tenant_id).where(sql`${t.state} = 'pending'`),
    index('tenant_migrations_failed').on(t.run_id, t.wave).where(sql`${t.state} = 'failed'`),
    index('tenant_migrations_lease').on(t.lease_until).where(sql`${t.state} = 'running'`),
  ],
)
