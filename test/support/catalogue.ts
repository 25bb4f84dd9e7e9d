/** What a tenant's database is, as its catalogue says, in lines that are the same for two tenants when all but their names is. */
import { sql } from 'drizzle-orm'
import type { Database } from './databases.ts'

const OURS = sql`(select oid from pg_namespace where nspname in ('freehold', 'access', 'platform', 'public'))`
/** An access list as words between ⟨ and ⟩; one that nobody wrote is what Postgres gives by itself. */
const may = (list: string, kind: string, owner: string) =>
  sql.raw(
    `(select '⟨' || string_agg(case a.grantee when 0 then 'PUBLIC' else a.grantee::regrole::text end || ' ' || a.privilege_type || case when a.is_grantable then '*' else '' end, ', ') || '⟩'
      from aclexplode(coalesce(${list}, acldefault('${kind}', ${owner}))) a)`,
  )

const PARTS: Record<string, ReturnType<typeof sql>> = {
  schema: sql`select concat_ws(' | ', nspname, nspowner::regrole, ${may('nspacl', 'n', 'nspowner')}) as line from pg_namespace where nspname !~ '^pg_(toast|temp)'`,
  relation: sql`select concat_ws(' | ', oid::regclass, relkind, relowner::regrole, relrowsecurity, relforcerowsecurity, relpersistence, array_to_string(reloptions, ','), ${may('relacl', 'r', 'relowner')}) as line
    from pg_class where relnamespace in ${OURS}`,
  column: sql`select concat_ws(' | ', attrelid::regclass, attnum, attname, format_type(atttypid, atttypmod), attnotnull, attgenerated, pg_get_expr(d.adbin, d.adrelid), ${may('attacl', 'c', 'relowner')}) as line
    from pg_attribute a join pg_class c on c.oid = attrelid left join pg_attrdef d on d.adrelid = attrelid and d.adnum = attnum where relnamespace in ${OURS} and attnum > 0 and not attisdropped`,
  function: sql`select concat_ws(' | ', oid::regprocedure, proowner::regrole, prokind, prosecdef, provolatile, proleakproof, array_to_string(proconfig, ','), md5(concat(prosrc, pg_get_function_sqlbody(oid))), ${may('proacl', 'f', 'proowner')}) as line
    from pg_proc where pronamespace in ${OURS}`,
  policy: sql`select concat_ws(' | ', polrelid::regclass, polname, polcmd, polpermissive, polroles::regrole[], pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)) as line from pg_policy`,
  trigger: sql`select concat_ws(' | ', tgenabled, pg_get_triggerdef(oid)) as line from pg_trigger where not tgisinternal`,
  constraint: sql`select concat_ws(' | ', conrelid::regclass, conname, convalidated, pg_get_constraintdef(oid)) as line from pg_constraint where connamespace in ${OURS}`,
  index: sql`select pg_get_indexdef(indexrelid) as line from pg_index i join pg_class c on c.oid = i.indrelid where relnamespace in ${OURS}`,
  database: sql`select concat_ws(' | ', datdba::regrole, ${may('datacl', 'd', 'datdba')}, pg_encoding_to_char(encoding), datcollate, datctype, datallowconn, datconnlimit, datistemplate) as line from pg_database where datname = current_database()`,
  'default privilege': sql`select concat_ws(' | ', defaclrole::regrole, defaclnamespace, defaclobjtype, defaclacl) as line from pg_default_acl`,
  setting: sql`select concat_ws(' | ', setrole::regrole, array_to_string(setconfig, ',')) as line from pg_db_role_setting where setdatabase = (select oid from pg_database where datname = current_database())`,
  extension: sql`select concat_ws(' | ', extname, extversion, extowner::regrole) as line from pg_extension`,
  ledger: sql`select name as line from freehold.migrations`,
  role: sql`select concat_ws(' | ', name, is_active, is_system, (select name from freehold.roles p where p.id = r.parent_id),
    (select string_agg(permission || ' ' || scope, ', ' order by permission) from freehold.role_permissions rp where rp.role_id = r.id)) as line from freehold.roles r`,
  rule: sql`select (to_jsonb(t) - '{id,subdomain,legal_name,v,created_at,updated_at}'::text[])::text as line from freehold.tenant t`,
}

/** The logins of a tenant: what each is, and of what it is a member. */
const login = (name: string) =>
  sql`select concat_ws(' | ', rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls, rolconnlimit, array_to_string(rolconfig, ','),
      (select string_agg(concat_ws(' ', m.roleid::regrole, m.admin_option, m.inherit_option, m.set_option), ', ' order by m.roleid::regrole::text) from pg_auth_members m where m.member = r.oid)) as line
    from pg_roles r where rolname = ${name}`

/** The whole catalogue of a tenant's database; names of the tenant and of its host's API role are taken out. */
export async function catalogueOf(database: Database): Promise<string[]> {
  const [app, owner, host] = [database.app_url, database.owner_url, database.host_url].map((url) => new URL(url).username)
  const anonymous = (line: string) =>
    line
      .replaceAll(app ?? '', 'APP_LOGIN')
      .replaceAll(owner ?? '', 'OWNER_LOGIN')
      // The local Neon keeps all branches in one cluster: a copied role has its branch in its name.
      .replace(new RegExp(`"?${host}(@br-[\\w-]+")?`, 'g'), 'API_ROLE')
      .replace(/⟨.*?⟩/g, (list) => list.slice(1, -1).split(', ').sort().join(', '))
  const parts = { ...PARTS, 'app login': login(app ?? ''), 'owner login': login(owner ?? '') }
  const lines: string[] = []
  for (const [what, query] of Object.entries(parts))
    for (const { line } of await database.asOwner(query)) lines.push(`${what}: ${anonymous(String(line))}`)
  return lines.sort()
}
