/**
 * What a database that is to be adopted says of itself. Threat: what answers there need not be Postgres, and says what an operator reads and
 * an administrator runs. So an answer that is not of the shape of the question is refused, and nothing of it is repeated.
 */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import { Problem } from '../../kernel/problem.ts'
import { GROUPS } from '../provisioning/roles.ts'

/** A name in the catalogue; `Quoted` as a statement has it. What answers there need not be Postgres, and an administrator runs these. */
export const Name = z.string().max(63)
const Quoted = z
  .string()
  .max(130)
  .regex(/^([a-z0-9_$]+|"([^"]|"")+")$/u)

/** Attributes with which a login reaches past the database. */
const ATTRIBUTES = ['bypassrls', 'replication'] as const

export const Facts = z.object({
  version: z.int(),
  is_replica: z.boolean(),
  login: Quoted,
  database: Quoted,
  is_super: z.boolean(),
  /** A role that Neon's API made, or a member of one. */
  is_neons: z.boolean(),
  /** Its own attributes of that kind; the roles that it is a member of and that have one, or more; and whether the owner has. */
  attributes: z.array(z.enum(ATTRIBUTES)),
  mighty: z.array(Quoted),
  is_owner_mighty: z.boolean(),
  makes_roles: z.boolean(),
  reads_all: z.boolean(),
  owns: z.boolean(),
  owner: Quoted,
  /** Where it is said that transactions only read; null: they write. */
  reads_only_by: z.string().max(63).nullable(),
  open: z.array(Name),
  named: z.array(Quoted),
  is_public_open: z.boolean(),
  schemas: z.array(z.object({ name: Name, owner: Name, relations: z.array(Name) })),
  groups: z.array(z.object({ name: Name, is_strange: z.boolean(), is_ours_to_give: z.boolean(), is_held: z.boolean() })),
})
export type Facts = z.infer<typeof Facts>

/**
 * Whether a role is, or can become, one that reads or changes what no owner gave it: other databases of the cluster, or files of the
 * server. The predefined roles of Postgres that can are named.
 */
const isMighty = (oid: string) =>
  sql.raw(`exists (select from pg_roles x where pg_has_role(${oid}, x.oid, 'MEMBER') and (x.rolsuper or x.rolbypassrls or x.rolreplication
      or x.rolname in ('pg_read_all_data', 'pg_write_all_data', 'pg_read_server_files', 'pg_write_server_files', 'pg_execute_server_program')))`)

export const FACTS = sql`
  select current_setting('server_version_num')::integer / 10000 as version, pg_is_in_recovery() as is_replica, quote_ident(r.rolname) as login, quote_ident(d.datname) as database,
    r.rolsuper as is_super, r.rolcreaterole as makes_roles,
    exists (select from pg_roles n where n.rolname = 'neon_superuser' and pg_has_role(n.oid, 'MEMBER')) as is_neons,
    (select coalesce(jsonb_agg(a.name order by a.name), '[]') from (values ('bypassrls', r.rolbypassrls), ('replication', r.rolreplication)) a (name, has) where a.has) as attributes,
    (select coalesce(jsonb_agg(m.roleid::regrole::text order by m.roleid::regrole::text), '[]') from pg_auth_members m where m.member = r.oid and ${isMighty('m.roleid')}) as mighty,
    ${isMighty('d.datdba')} as is_owner_mighty,
    r.rolbypassrls and exists (select from pg_roles p where p.rolname = 'pg_read_all_data' and pg_has_role(p.oid, 'USAGE')) as reads_all, pg_has_role(d.datdba, 'USAGE') as owns, d.datdba::regrole::text as owner,
    (select s.source from pg_settings s where s.name = 'default_transaction_read_only' and s.setting = 'on') as reads_only_by,
    (select coalesce(jsonb_agg(distinct a.privilege_type), '[]') from aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a where a.grantee = 0) as open,
    (select coalesce(jsonb_agg(distinct a.grantee::regrole::text), '[]') from aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a where a.grantee <> 0) as named,
    exists (select from pg_namespace n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
      where n.nspname = 'public' and a.grantee = 0 and a.privilege_type = 'CREATE') as is_public_open,
    (select coalesce(jsonb_agg(jsonb_build_object('name', n.nspname, 'owner', pg_get_userbyid(n.nspowner), 'relations',
        (select coalesce(jsonb_agg(c.relname order by c.relname), '[]') from pg_class c where c.relnamespace = n.oid and c.relkind in ('r', 'p', 'v', 'm', 'f')))), '[]')
      from pg_namespace n where n.nspname in ('freehold', 'access', 'platform')) as schemas,
    (select coalesce(jsonb_agg(jsonb_build_object('name', g.rolname,
        'is_strange', g.rolcanlogin or g.rolsuper or g.rolcreaterole or g.rolcreatedb or g.rolreplication or g.rolbypassrls or exists (select from pg_auth_members m where m.member = g.oid),
        'is_held', pg_has_role(g.oid, 'USAGE'), 'is_ours_to_give', pg_has_role(g.oid, 'USAGE WITH ADMIN OPTION'))), '[]')
      from pg_roles g where ${JSON.stringify(Object.keys(GROUPS))}::jsonb ? g.rolname::text) as groups
  from pg_roles r, pg_database d where r.rolname = current_user and d.datname = current_database()`

/** What was answered, when it is of the shape of the question. */
export function shaped<T>(schema: z.ZodType<T>, answer: unknown): T {
  const read = schema.safeParse(answer)
  if (read.success) return read.data
  throw new Problem('illegal_state', 'The database did not say what it is: its host answers something else than was asked.')
}
