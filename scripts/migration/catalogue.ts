/**
 * Reads the catalogue of a database: each object by a key, in a form that is equal in two databases if the object is. Two
 * databases are equal if their catalogues are; the order of columns is ignored.
 */
import type { Client } from 'pg'
import { FINGERPRINT, type Fingerprint, fingerprintOf, STEADY } from '../../src/tenants/migration/fingerprint.ts'

export type Kind =
  | 'schema'
  | 'relation'
  | 'column'
  | 'constraint'
  | 'index'
  | 'type'
  | 'function'
  | 'procedure'
  | 'trigger'
  | 'policy'

export type Entry = {
  kind: Kind
  /** `function access.admit`, `policy read on freehold.users`, `column freehold.users.email`. */
  key: string
  /** Everything that two objects are compared by. */
  form: string
  /**
   * Functions: names, types and defaults of the parameters, and the result. A function whose signature changes cannot be replaced
   * in place.
   */
  signature: string
  /** The statements that create and drop it; '' where drizzle-kit writes them. */
  create: string
  drop: string
  /** The keys of the objects that must be dropped first. */
  dependents: string[]
}

/** One privilege of a role other than the owner, as `execute on function access.admit(...) to freehold_app`. */
export type Grant = { privilege: string; column: string | null; object: string; grantee: string }

export type Catalogue = { entries: Map<string, Entry>; grants: Map<string, Grant> }

const OURS = `(select oid from pg_namespace where nspname in ('freehold', 'access', 'platform'))`
// Without the ledger, which the migrator creates before the first migration.
const TABLES = `(select oid from pg_class where relnamespace in ${OURS} and relkind = 'r' and oid <> coalesce(to_regclass('freehold.migrations'), 0))`

/** Enumerations, and composite types that are no table's. */
const TYPES = `(select t.oid from pg_type t left join pg_class c on c.oid = t.typrelid where t.typnamespace in ${OURS} and (t.typtype = 'e' or c.relkind = 'c'))`

const QUERIES: string[] = [
  `select 'schema' as kind, 'schema ' || nspname as key, nspowner::regrole::text as form, 'create schema ' || nspname as "create" from pg_namespace where oid in ${OURS}`,
  `select 'relation' as kind, concat(case relkind when 'S' then 'sequence ' else 'table ' end, oid::regclass) as key,
      concat_ws(' | ', relkind, relowner::regrole, 'row level security ' || relrowsecurity, relforcerowsecurity, relpersistence, array_to_string(reloptions, ',')) as form,
      case relkind when 'S' then format('create sequence %s', oid::regclass) else '' end as "create",
      format('drop %s %s', case relkind when 'S' then 'sequence' else 'table' end, oid::regclass) as "drop"
    from pg_class c where oid in ${TABLES} or (relkind = 'S' and relnamespace in ${OURS})`,
  `select 'column' as kind, format('column %s.%s', attrelid::regclass, attname) as key,
      concat_ws(' | ', format_type(atttypid, atttypmod), case when attnotnull then 'not null' end, nullif(attgenerated, ''), nullif(attidentity, ''),
        pg_get_expr(d.adbin, d.adrelid), nullif(attcollation::regcollation::text, '"default"')) as form,
      '' as "create", format('alter table %s drop column %I', attrelid::regclass, attname) as "drop"
    from pg_attribute a left join pg_attrdef d on d.adrelid = attrelid and d.adnum = attnum where attrelid in ${TABLES} and attnum > 0 and not attisdropped`,
  `select 'constraint' as kind, format('constraint %s on %s', conname, conrelid::regclass) as key, concat_ws(' | ', convalidated, pg_get_constraintdef(oid)) as form,
      format('alter table %s add constraint %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid)) as "create",
      format('alter table %s drop constraint %I', conrelid::regclass, conname) as "drop"
    from pg_constraint where conrelid in ${TABLES} and contype <> 'n'`,
  `select 'index' as kind, format('index %s on %s', indexrelid::regclass, indrelid::regclass) as key, pg_get_indexdef(indexrelid) as form, pg_get_indexdef(indexrelid) as "create", 'drop index ' || indexrelid::regclass as "drop"
    from pg_index where indrelid in ${TABLES}`,
  `select 'type' as kind, 'type ' || t.oid::regtype as key, concat_ws(' | ', typowner::regrole, (select string_agg(e.enumlabel, ', ' order by e.enumsortorder) from pg_enum e where e.enumtypid = t.oid),
        (select string_agg(concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod)), ', ' order by a.attnum) from pg_attribute a where a.attrelid = t.typrelid)) as form,
      '' as "create", 'drop type ' || t.oid::regtype as "drop"
    from pg_type t where oid in ${TYPES}`,
  `select case prokind when 'p' then 'procedure' else 'function' end as kind,
      concat(case prokind when 'p' then 'procedure ' else 'function ' end, pronamespace::regnamespace, '.', proname,
        case when count(*) over (partition by pronamespace, proname) > 1 then format('(%s)', pg_get_function_identity_arguments(oid)) end) as key,
      concat_ws(' | ', pg_get_function_arguments(oid), pg_get_function_result(oid), proowner::regrole, prolang, prosecdef, proleakproof, proisstrict, proretset, provolatile, proparallel,
        procost, prorows, array_to_string(proconfig, ','), prosrc, pg_get_function_sqlbody(oid)) as form,
      concat_ws(' returns ', pg_get_function_arguments(oid), pg_get_function_result(oid)) as signature,
      pg_get_functiondef(oid) as "create",
      format('drop %s %s', case prokind when 'p' then 'procedure' else 'function' end, oid::regprocedure) as "drop"
    from pg_proc where pronamespace in ${OURS}`,
  `select 'trigger' as kind, format('trigger %s on %s', tgname, tgrelid::regclass) as key, concat_ws(' | ', tgenabled, pg_get_triggerdef(oid)) as form,
      pg_get_triggerdef(oid) as "create", format('drop trigger %I on %s', tgname, tgrelid::regclass) as "drop"
    from pg_trigger where not tgisinternal and tgrelid in ${TABLES}`,
  `select 'policy' as kind, format('policy %s on %s', polname, polrelid::regclass) as key,
      concat_ws(' | ', polcmd, polpermissive, polroles::regrole[], 'using ' || pg_get_expr(polqual, polrelid), 'check ' || pg_get_expr(polwithcheck, polrelid)) as form,
      concat(format('create policy %I on %s', polname, polrelid::regclass), case when not polpermissive then ' as restrictive' end,
        ' for ' || case polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update' when 'd' then 'delete' else 'all' end,
        case when polroles <> '{0}' then ' to ' || array_to_string(polroles::regrole[], ', ') end,
        E'\\n  using (' || pg_get_expr(polqual, polrelid) || ')', E'\\n  with check (' || pg_get_expr(polwithcheck, polrelid) || ')') as "create",
      format('drop policy %I on %s', polname, polrelid::regclass) as "drop"
    from pg_policy where polrelid in ${TABLES}`,
]

/** The dependents of functions that Postgres records: policies, triggers, defaults, and SQL-standard bodies. */
const DEPENDENTS = `
  select concat(case p.prokind when 'p' then 'procedure ' else 'function ' end, p.pronamespace::regnamespace, '.', p.proname) as used,
    case d.classid
      when 'pg_policy'::regclass then (select format('policy %s on %s', x.polname, x.polrelid::regclass) from pg_policy x where x.oid = d.objid)
      when 'pg_trigger'::regclass then (select format('trigger %s on %s', x.tgname, x.tgrelid::regclass) from pg_trigger x where x.oid = d.objid)
      when 'pg_proc'::regclass then (select concat(case x.prokind when 'p' then 'procedure ' else 'function ' end, x.pronamespace::regnamespace, '.', x.proname) from pg_proc x where x.oid = d.objid)
      else pg_describe_object(d.classid, d.objid, d.objsubid) end as by
  from pg_depend d join pg_proc p on p.oid = d.refobjid
  where d.refclassid = 'pg_proc'::regclass and p.pronamespace in ${OURS} and d.deptype = 'n'`

const GRANTS = `
  select lower(a.privilege_type) as privilege, o.col as "column", o.object, case a.grantee when 0 then 'public' else a.grantee::regrole::text end as grantee
  from (
    select format('schema %s', nspname) as object, null::name as col, nspowner as owner, coalesce(nspacl, acldefault('n', nspowner)) as acl from pg_namespace where oid in ${OURS}
    union all
    select case relkind when 'S' then format('sequence %s', oid::regclass) else oid::regclass::text end, null, relowner, coalesce(relacl, acldefault(case relkind when 'S' then 's' else 'r' end::"char", relowner))
    from pg_class where oid in ${TABLES} or (relkind = 'S' and relnamespace in ${OURS})
    union all
    select attrelid::regclass::text, attname, c.relowner, attacl from pg_attribute join pg_class c on c.oid = attrelid where attrelid in ${TABLES} and attacl is not null and not attisdropped
    union all
    select format('%s %s', case prokind when 'p' then 'procedure' else 'function' end, oid::regprocedure), null, proowner, coalesce(proacl, acldefault('f', proowner)) from pg_proc where pronamespace in ${OURS}
    union all
    select format('type %s', oid::regtype), null, typowner, coalesce(typacl, acldefault('T', typowner)) from pg_type where oid in ${TYPES}
  ) o cross join lateral aclexplode(o.acl) a where a.grantee <> o.owner`

/** Reads the catalogue of the database that a client is connected to. Takes about 50 ms. */
export async function readCatalogue(client: Client): Promise<Catalogue> {
  // With an empty path Postgres writes all names with their schema.
  await client.query(`set search_path = ''`)
  const entries = new Map<string, Entry>()
  for (const query of QUERIES)
    for (const row of (await client.query(query)).rows)
      entries.set(row.key, { signature: '', drop: '', dependents: [], ...row, create: String(row.create ?? '') })
  for (const { used, by } of (await client.query(DEPENDENTS)).rows) entries.get(used)?.dependents.push(by)
  const grants = new Map<string, Grant>()
  for (const grant of (await client.query(GRANTS)).rows as Grant[]) grants.set(keyOf(grant), grant)
  return { entries, grants }
}

/** What the Worker compares tenants with, read from the database that a client is connected to. */
export async function readFingerprint(client: Client): Promise<Fingerprint> {
  await client.query('begin')
  await client.query(STEADY)
  const { rows } = await client.query(FINGERPRINT)
  await client.query('commit')
  return fingerprintOf(rows)
}

export const keyOf = ({ privilege, column, object, grantee }: Grant) =>
  `grant ${privilege}${column ? ` (${column})` : ''} on ${object} to ${grantee}`

/** The sorted keys of objects and grants that two catalogues do not share; empty when they are equal. */
export function differences(one: Catalogue, other: Catalogue): string[] {
  const keys = new Set([...one.entries.keys(), ...other.entries.keys()])
  const changed = [...keys].filter((key) => one.entries.get(key)?.form !== other.entries.get(key)?.form)
  const granted = [...new Set([...one.grants.keys(), ...other.grants.keys()])].filter(
    (key) => one.grants.has(key) !== other.grants.has(key),
  )
  return [...changed, ...granted].sort()
}
