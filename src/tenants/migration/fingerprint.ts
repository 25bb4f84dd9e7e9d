/**
 * What a tenant's database is made of: each object of the schemas `freehold` and `access`, with a hash of what makes it what it is.
 * One query, which `npm run migration` asks of a database that all migrations made, and the Worker of a tenant's. It reads what
 * Postgres stores (sources of functions, names instead of oids), so that releases of Postgres give the same hash; the order of
 * columns, comments and the names of databases and logins are no part of it.
 */
const OURS = `(select oid from pg_namespace where nspname in ('freehold', 'access'))`
// The ledger is the migrator's, which compares its checksums.
const TABLES = `(select oid from pg_class where relnamespace in ${OURS} and relkind in ('r', 'p') and oid <> coalesce(to_regclass('freehold.migrations'), 0))`

/** Who may do what with an object, beside its owner, in one order; what Postgres grants by itself included. */
const may = (list: string, kind: string, owner: string) =>
  `(select string_agg(case a.grantee when 0 then 'public' else a.grantee::regrole::text end || ' ' || a.privilege_type || case when a.is_grantable then '*' else '' end, ', '
      order by a.grantee::regrole::text collate "C", a.privilege_type collate "C", a.is_grantable)
    from aclexplode(coalesce(${list}, acldefault(${kind}, ${owner}))) a where a.grantee <> ${owner})`

const PARTS = [
  `select 'schema' as kind, nspname::text as name, concat_ws(' | ', nspowner::regrole, ${may('nspacl', `'n'`, 'nspowner')}) as form from pg_namespace where oid in ${OURS}`,
  `select case when relkind in ('r', 'p') then 'table' when relkind = 'S' then 'sequence' else 'view' end, oid::regclass::text,
      concat_ws(' | ', relkind, relowner::regrole, relrowsecurity, relforcerowsecurity, relpersistence, array_to_string(reloptions, ','),
        ${may('relacl', `case relkind when 'S' then 's' else 'r' end::"char"`, 'relowner')})
    from pg_class c where oid in ${TABLES} or relkind in ('S', 'v', 'm', 'f') and relnamespace in ${OURS}`,
  `select 'column', format('%s.%I', attrelid::regclass, attname),
      concat_ws(' | ', format_type(atttypid, atttypmod), case when attnotnull then 'not null' end, nullif(attgenerated, ''), nullif(attidentity, ''),
        pg_get_expr(d.adbin, d.adrelid), nullif(attcollation::regcollation::text, '"default"'), ${may('attacl', `'c'`, 'c.relowner')})
    from pg_attribute a join pg_class c on c.oid = a.attrelid left join pg_attrdef d on d.adrelid = attrelid and d.adnum = attnum
    where attrelid in ${TABLES} and attnum > 0 and not attisdropped`,
  // Of those that say "not null" Postgres 18 keeps rows, and the column says it in every release.
  `select 'constraint', format('%I on %s', conname, conrelid::regclass), concat_ws(' | ', convalidated, pg_get_constraintdef(oid))
    from pg_constraint where conrelid in ${TABLES} and contype <> 'n'`,
  // That of a constraint is the constraint's.
  `select 'index', format('%s on %s', indexrelid::regclass, indrelid::regclass), concat_ws(' | ', indisvalid, pg_get_indexdef(indexrelid))
    from pg_index where indrelid in ${TABLES} and not exists (select from pg_constraint c where c.conindid = indexrelid and c.conrelid = indrelid)`,
  `select 'type', t.oid::regtype::text, concat_ws(' | ', typtype, typowner::regrole, (select string_agg(e.enumlabel, ', ' order by e.enumsortorder) from pg_enum e where e.enumtypid = t.oid),
        (select string_agg(concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod)), ', ' order by a.attnum) from pg_attribute a where a.attrelid = t.typrelid),
        ${may('typacl', `'T'`, 'typowner')})
    from pg_type t left join pg_class c on c.oid = t.typrelid where t.typnamespace in ${OURS} and (t.typtype in ('e', 'd', 'r') or c.relkind = 'c')`,
  `select case prokind when 'p' then 'procedure' when 'a' then 'aggregate' else 'function' end, format('%s.%I', pronamespace::regnamespace, proname),
      concat_ws(' | ', prokind, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid), proowner::regrole, lanname, prosecdef, proleakproof, proisstrict, provolatile, proparallel,
        procost, prorows, array_to_string(proconfig, ','), prosrc, pg_get_function_sqlbody(p.oid), ${may('proacl', `'f'`, 'proowner')})
    from pg_proc p join pg_language l on l.oid = p.prolang where pronamespace in ${OURS}`,
  `select 'trigger', format('%I on %s', tgname, tgrelid::regclass), concat_ws(' | ', tgenabled, pg_get_triggerdef(oid)) from pg_trigger where not tgisinternal and tgrelid in ${TABLES}`,
  `select 'rule', format('%I on %s', rulename, ev_class::regclass), concat_ws(' | ', ev_enabled, pg_get_ruledef(oid)) from pg_rewrite where ev_class in ${TABLES}`,
  `select 'policy', format('%I on %s', polname, polrelid::regclass),
      concat_ws(' | ', polcmd, polpermissive, (select string_agg(case r when 0 then 'public' else r::regrole::text end, ',' order by r::regrole::text collate "C") from unnest(polroles) r),
        'using ' || pg_get_expr(polqual, polrelid), 'check ' || pg_get_expr(polwithcheck, polrelid))
    from pg_policy where polrelid in ${TABLES}`,
]

/**
 * To be asked first, in the same transaction: how Postgres writes names and constants, whatever the settings of a database or login
 * are. With an empty path every name has its schema.
 */
export const STEADY = `select set_config(name, value, true) from (values ('search_path', ''), ('quote_all_identifiers', 'off'), ('TimeZone', 'UTC'),
  ('DateStyle', 'ISO, YMD'), ('IntervalStyle', 'postgres'), ('bytea_output', 'hex'), ('extra_float_digits', '1')) s (name, value)`

/** The rows `kind, name, hash`; functions of one name are one object. 18 bits find what was changed by mistake, not by design. */
export const FINGERPRINT = `select kind, name, left(encode(sha256(convert_to(string_agg(form, e'\\n' order by form collate "C"), 'UTF8')), 'base64'), 3) as hash
  from (${PARTS.join('\n  union all ')}) o group by kind, name order by kind collate "C", name collate "C"`

/** Each object by its kind and name, as `function access.admit`, with its hash. */
export type Fingerprint = Map<string, string>

/** The rows that a database answered. */
export const fingerprintOf = (rows: Record<string, unknown>[]): Fingerprint =>
  new Map(rows.map(({ kind, name, hash }) => [`${kind} ${name}`, String(hash)]))

/** A fingerprint as its file has it (drizzle/tenant/meta/fingerprint.json): objects that share all of their name but one word, as `policy * on freehold.users`, are one line. */
export function pack(fingerprint: Fingerprint): Record<string, string> {
  const packed: Record<string, string> = {}
  for (const [object, hash] of fingerprint) {
    const [, before, word, after] = /^(\w+ (?:(?=.* on )|(?:.*\.)?))(.*?)( on .*)?$/.exec(object) ?? []
    const line = `${before}*${after ?? ''}`
    packed[line] = `${packed[line] ? `${packed[line]},` : ''}${word} ${hash}`
  }
  return packed
}

export const unpack = (packed: Record<string, string>): Fingerprint =>
  new Map(
    Object.entries(packed).flatMap(([line, objects]) =>
      objects.split(',').map((object): [string, string] => {
        const at = object.lastIndexOf(' ')
        return [line.replace('*', () => object.slice(0, at)), object.slice(at + 1)]
      }),
    ),
  )
