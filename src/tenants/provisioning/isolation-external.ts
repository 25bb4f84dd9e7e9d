/**
 * Isolation `external`: somebody else's database, which an operator named (src/tenants/adoption). Threat: Freehold locks its owner's own
 * programs out, touches what is theirs, or leaves something of itself behind. So what PUBLIC may do with the database is given to each
 * role by name before it is taken from PUBLIC, and given back by an erasure; Freehold's are the schemas `freehold` and `access` and nothing else; and
 * nothing goes through Neon's API, which does not know the database.
 */
import { type SQL, sql } from 'drizzle-orm'
import { batch, dbError, refusedLogin, unhurried } from '../../kernel/db.ts'
import { log } from '../../kernel/log.ts'
import { clusterOf, type Found, hostOf, type Isolation, type Job } from './job.ts'
import { dropLogins, makeLogins, urlsAt } from './logins.ts'
import { type Cluster, dropRoles, GROUPS, makeRoles, StrangeRole } from './roles.ts'

/** Why nothing goes on that needs the login of the database's owner. */
export const NOT_ACCEPTED =
  'The connection string is no longer accepted: give the new one to PUT /platform/v1/tenants/{id}/connection-string.'

export const adopted: Isolation = {
  // Its host was made with it.
  place: async (job) => void hostOf(job),

  create: async () => [],

  urls: async (job, passwords) => urlsAt(hostOf(job).owner_url, job.tenant, passwords),

  logins: (job, urls) =>
    explained(job, async (at) => {
      await makeRoles(at, GROUPS)
      await makeLogins(at, job.tenant.database_name, urls, [keepOpen])
    }),

  cluster: async (job) => clusterOf(null, hostOf(job)),

  remove: async (job) => {
    if (!job.tenant.host) return true
    return explained(job, (at) => leave(job, at)).catch((error) => {
      // Without the database there is nothing to remove.
      if (dbError(error)?.code !== '3D000') throw error
      log('an adopted database is gone', { host: hostOf(job).id, trace_id: job.trace_id })
      return true
    })
  },
}

/** Something of others' depends on what is Freehold's. */
class StillUsed extends Error {}

/** Does work as the given login. What an operator must do something about is in the tenant's `database_error`, too. */
async function explained<T>(job: Job, work: (at: Cluster) => Promise<T>): Promise<T> {
  const host = hostOf(job)
  try {
    return await work(clusterOf(null, host))
  } catch (error) {
    const is_said = error instanceof StillUsed || error instanceof StrangeRole
    const words = refusedLogin(error) ? NOT_ACCEPTED : is_said ? error.message : null
    if (!words) throw error
    await batch(job.config.MASTER_DATABASE_URL, [sql`update platform.hosts set refused = ${words} where id = ${host.id}`])
    throw new Error(words)
  }
}

/** The names of Freehold's roles, of this tenant and of others in the cluster. */
const OURS = sql.raw(`'^freehold_(app|owner|reader)(_|$)'`)

const PRIVILEGES = sql.raw(`
  select a.grantee, a.privilege_type as privilege, d.datdba from pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
  where d.datname = current_database() and a.privilege_type in ('CONNECT', 'TEMPORARY')`)

/** Gives to each role, but ours, what it may do with the database only because everybody may. */
const keepOpen = sql`do $$ declare g record; begin
  for g in with privileges as (${PRIVILEGES})
    select r.rolname, p.privilege from pg_roles r join privileges p on p.grantee = 0 and r.oid <> p.datdba
    where r.rolname !~ '^pg_' and r.rolname !~ ${OURS} and not r.rolsuper
      and not exists (select from privileges x where x.grantee = r.oid and x.privilege = p.privilege)
  loop
    execute format('grant %s on database %I to %I', g.privilege, current_database(), g.rolname);
  end loop; end $$`

/** Gives back to PUBLIC what it had, and takes from the roles what they were given for it; from ours, everything. */
const giveBack = ({ open, named }: Found): SQL => {
  const [given, kept] = [open, named].map((list) => sql.raw(`'${JSON.stringify(list).replaceAll("'", "''")}'::jsonb`))
  return sql`do $$ declare g record; begin
    for g in with privileges as (${PRIVILEGES})
      select r.rolname, r.rolname ~ ${OURS} as is_ours, p.privilege from privileges p join pg_roles r on r.oid = p.grantee and r.oid <> p.datdba
      where r.rolname ~ ${OURS} or not ${kept} ? p.grantee::regrole::text
    loop
      if g.is_ours then execute format('revoke all on database %I from %I', current_database(), g.rolname);
      elsif ${given} ? g.privilege then execute format('revoke %s on database %I from %I', g.privilege, current_database(), g.rolname);
      end if;
    end loop;
    for g in select value as privilege from jsonb_array_elements_text(${given}) where value in ('CONNECT', 'TEMPORARY') loop
      execute format('grant %s on database %I to public', g.privilege, current_database());
    end loop;
    if exists (select from pg_roles where rolname = 'freehold_owner') then
      execute format('revoke all on database %I from freehold_owner', current_database());
    end if; end $$`
}

/** Whatever is in others' schemas and would go, or change, with what it depends on. */
const OTHERS = sql.raw(`
  select 'relation ' || c.oid::regclass as what from pg_class c join theirs n on n.oid = c.relnamespace
  union all select 'column ' || c.oid::regclass || '.' || a.attname from pg_attribute a join pg_class c on c.oid = a.attrelid join theirs n on n.oid = c.relnamespace where not a.attisdropped
  union all select 'default of ' || c.oid::regclass || '.' || d.adnum from pg_attrdef d join pg_class c on c.oid = d.adrelid join theirs n on n.oid = c.relnamespace
  union all select 'constraint ' || k.conname from pg_constraint k join theirs n on n.oid = k.connamespace
  union all select 'trigger ' || t.tgname || ' on ' || c.oid::regclass from pg_trigger t join pg_class c on c.oid = t.tgrelid join theirs n on n.oid = c.relnamespace where not t.tgisinternal
  union all select 'policy ' || p.polname || ' on ' || c.oid::regclass from pg_policy p join pg_class c on c.oid = p.polrelid join theirs n on n.oid = c.relnamespace
  union all select 'function ' || p.oid::regprocedure from pg_proc p join theirs n on n.oid = p.pronamespace
  union all select 'type ' || t.oid::regtype from pg_type t join theirs n on n.oid = t.typnamespace`)

/** Drops Freehold's schemas. Raises FH002 when something of others' would go with them. */
const dropSchemas = sql`do $$ declare before text[]; lost text; begin
    with theirs as (select oid from pg_namespace where nspname not in ('freehold', 'access', 'pg_catalog', 'information_schema', 'pg_toast'))
      select array_agg(o.what) into before from (${OTHERS}) o;
    drop schema if exists freehold, access cascade;
    with theirs as (select oid from pg_namespace where nspname not in ('freehold', 'access', 'pg_catalog', 'information_schema', 'pg_toast'))
      select string_agg(what, ', ') into lost from (select unnest(before) as what except select o.what from (${OTHERS}) o limit 5) gone;
    if lost is not null then raise exception using errcode = 'FH002', message = lost; end if; end $$`

const STATE = sql`
  select exists (select from pg_roles where rolname = 'freehold_owner') as has_groups,
    exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'freehold' and c.relname = 'tenant') as has_tenant`

/**
 * Removes what is Freehold's from the database, and its roles from the cluster when nobody uses them. Repeatable. False: the schemas are
 * of a tenant that is not this one's, and stay.
 */
async function leave(job: Job, at: Cluster): Promise<boolean> {
  const { id, initial_admin, host } = job.tenant
  const [[state] = []] = await batch(at.url, [STATE])
  // A tenant that was in it, and whose adoption was given up, is not this one's to destroy.
  const is_given_up = host?.found?.has_tenant === true && initial_admin !== null
  if (state?.has_groups) {
    const asOwner = [sql`grant freehold_owner to current_user with inherit true, set true`, sql`set local role freehold_owner`]
    if (state.has_tenant) {
      const [, , [row] = []] = await batch(at.url, [
        ...asOwner,
        sql`select bool_and(t.id = ${id}) as is_ours from freehold.tenant t`,
      ])
      if (row?.is_ours === false) return false
    }
    const drop = is_given_up ? [] : [...asOwner, dropSchemas, sql`reset role`]
    await batch(at.url, [unhurried, ...drop, giveBack(host?.found ?? NOTHING)], job.trace_id).catch((error) => {
      if (dbError(error)?.code !== 'FH002') throw error
      throw new StillUsed(`Something in the database depends on Freehold’s schemas: ${dbError(error)?.message}. Drop it first.`)
    })
  }
  await dropLogins(at, job.tenant)
  await dropUnused(at)
  return !is_given_up
}

const NOTHING: Found = { open: [], named: [], has_tenant: false }

/** Drops the roles that own and use the schema, unless another tenant in this cluster has them, or something is theirs. */
async function dropUnused(at: Cluster): Promise<void> {
  const [rows = []] = await batch(at.url, [
    sql`select r.rolname as name from pg_roles r where ${JSON.stringify(Object.keys(GROUPS))}::jsonb ? r.rolname::text
          and not exists (select from pg_shdepend d where d.refclassid = 'pg_authid'::regclass and d.refobjid = r.oid)
          and not exists (select from pg_auth_members m join pg_roles x on x.oid = m.member where m.roleid = r.oid and x.rolname ~ ${OURS})`,
  ])
  const unused = Object.fromEntries(rows.map(({ name }) => [String(name), []]))
  if (rows.length) await dropRoles(at, unused)
}
