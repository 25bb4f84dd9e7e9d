/**
 * What is in a database that an operator wants to be adopted, and what its login may do. Threat: Freehold takes a database that is
 * another tenant's, another deployment's or half somebody's, and finds out when it has changed it; or it fails half-way for want of a
 * privilege. So everything is read first, and what cannot be adopted is refused with what was found, or with the statements to run.
 */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import { dbError } from '../../kernel/db.ts'
import { Problem } from '../../kernel/problem.ts'
import { tenantMigrations } from '../provisioning/bundled.ts'
import type { Found } from '../provisioning/job.ts'
import { ledgerFault } from '../provisioning/migrations.ts'
import { GROUPS } from '../provisioning/roles.ts'
import { ask } from './asking.ts'
import type { Connection } from './connection-string.ts'

const OLDEST = 16
const NEWEST = 18
const OURS = ['freehold', 'access']

/** A tenant that the database holds already. */
export type Inhabitant = z.infer<typeof Inhabitants>[number]

/** A name in the catalogue; `Quoted` as a statement has it. What answers there need not be Postgres, and an administrator runs these. */
const Name = z.string().max(63)
const Quoted = z
  .string()
  .max(130)
  .regex(/^([a-z0-9_$]+|"([^"]|"")+")$/u)

const Facts = z.object({
  version: z.int(),
  is_replica: z.boolean(),
  login: Quoted,
  database: Quoted,
  is_super: z.boolean(),
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
type Facts = z.infer<typeof Facts>

const Ledger = z.array(z.object({ name: z.string(), checksum: z.string() }))
const Inhabitants = z.array(z.object({ id: z.uuid(), subdomain: Name, users: z.int(), has_admin: z.boolean() }))

const FACTS = sql`
  select current_setting('server_version_num')::integer / 10000 as version, pg_is_in_recovery() as is_replica, quote_ident(r.rolname) as login, quote_ident(d.datname) as database,
    r.rolsuper as is_super, r.rolcreaterole as makes_roles, r.rolbypassrls and exists (select from pg_roles p where p.rolname = 'pg_read_all_data' and pg_has_role(p.oid, 'USAGE')) as reads_all, pg_has_role(d.datdba, 'USAGE') as owns, d.datdba::regrole::text as owner,
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

/**
 * Reads what an adoption depends on: at most three round trips to the database, none of which changes it. `admin_email` is looked for among
 * the users. Returns what an erasure gives back, and the tenant that is in it already. Fails with illegal_state (with what was found, or
 * the statements that an administrator must run), invalid_request, database_unavailable.
 */
export async function inspect(at: Connection, admin_email: string): Promise<{ found: Found; inhabitant: Inhabitant | null }> {
  const [[row] = []] = await ask(at, [FACTS])
  const facts = shaped(Facts, row)
  mustBeFit(facts)
  mustBePermitted(facts)
  const inhabitant = (await isFreeholds(at, facts)) ? await inhabitantOf(at, admin_email) : null
  return { found: { open: facts.open, named: facts.named, has_tenant: inhabitant !== null }, inhabitant }
}

/** What was answered, when it is of the shape of the question. */
function shaped<T>(schema: z.ZodType<T>, answer: unknown): T {
  const read = schema.safeParse(answer)
  if (read.success) return read.data
  throw new Problem('illegal_state', 'The database did not say what it is: its host answers something else than was asked.')
}

/** What an administrator runs, ready to paste. */
const toRun = (statements: string[]) => ({
  errors: statements.map((statement) => ({ pointer: '#/connection_string', detail: statement })),
})

function mustBeFit({ version, is_replica }: Facts): void {
  if (version < OLDEST || version > NEWEST)
    throw new Problem('illegal_state', `The database is of Postgres ${version}: it must be of ${OLDEST} to ${NEWEST}.`)
  if (is_replica)
    throw new Problem('illegal_state', 'The endpoint only reads: give the connection string of the one that writes.')
}

/** The login makes roles and closes the database, as the API role of a host does. */
function mustBePermitted(facts: Facts): void {
  const { login, owner, groups } = facts
  if (facts.is_super)
    throw new Problem(
      'illegal_state',
      'The login is a superuser, which may do too much. An administrator must run the statements in `errors`, and set a password.',
      toRun([
        'create role freehold_adopter login createrole;',
        `grant ${owner} to freehold_adopter;`,
        ...(groups.length ? [`grant ${groups.map(({ name }) => name).join(', ')} to freehold_adopter with admin option;`] : []),
      ]),
    )
  const strange = groups.filter(({ is_strange }) => is_strange).map(({ name }) => name)
  if (strange.length)
    throw new Problem(
      'illegal_state',
      `The roles ${strange.join(', ')} are there and have privileges that are not of Freehold. An administrator must rename or drop them.`,
    )
  const kept = groups.filter(({ is_ours_to_give }) => !is_ours_to_give).map(({ name }) => name)
  const statements = [
    ...(facts.makes_roles ? [] : [`alter role ${login} createrole;`]),
    ...(facts.owns
      ? []
      : [`grant ${login} to current_user with inherit true, set true;`, `alter database ${facts.database} owner to ${login};`]),
    ...(kept.length ? [`grant ${kept.join(', ')} to ${login} with admin option;`] : []),
    ...(facts.is_public_open ? ['revoke create on schema public from public;'] : []),
    ...writing(facts),
  ]
  if (statements.length)
    throw new Problem(
      'illegal_state',
      `This login may do too little. Give that of ${owner}, who owns the database, or have an administrator run the statements in \`errors\`.`,
      toRun(statements),
    )
}

/** The statement after which transactions write, where it is a setting of the login or of the database that they only read. */
function writing({ reads_only_by, login, database }: Facts): string[] {
  if (reads_only_by === null) return []
  const at: Record<string, string> = {
    user: `role ${login}`,
    database: `database ${database}`,
    'database user': `role ${login} in database ${database}`,
  }
  const changed = Object.hasOwn(at, reads_only_by) ? at[reads_only_by] : null
  if (!changed)
    throw new Problem('illegal_state', 'Transactions of this server only read: its setting default_transaction_read_only is on.')
  // The administrator's own session in this database begins so, too.
  const first = reads_only_by === 'database' ? ['set default_transaction_read_only = off;'] : []
  return [...first, `alter ${changed} reset default_transaction_read_only; -- open sessions keep it until they end`]
}

/** Whether it holds Freehold's schema, in a state that this release takes further. */
async function isFreeholds(at: Connection, facts: Facts): Promise<boolean> {
  const { schemas } = facts
  const named = schemas.filter(({ name }) => OURS.includes(name))
  const [first] = named
  if (!first) return false
  const ours = named.every(({ owner }) => owner === 'freehold_owner')
  const has_ledger = named.some(({ name, relations }) => name === 'freehold' && relations.includes('migrations'))
  if (!ours || !has_ledger) {
    const { name, owner, relations } = named.find((one) => one.owner !== 'freehold_owner') ?? first
    const holds = relations.slice(0, 5).join(', ') || 'no tables'
    throw new Problem(
      'illegal_state',
      `The database has a schema ${name} that is not Freehold’s: it belongs to ${owner} and holds ${holds}.`,
    )
  }
  if (schemas.some(({ name, owner }) => name === 'platform' && owner === 'freehold_owner'))
    throw new Problem('illegal_state', 'The database is the master of a deployment of Freehold.')
  // Row security would show anybody else an empty ledger.
  if (!facts.reads_all && !facts.groups.some((group) => group.name === 'freehold_owner' && group.is_held))
    throw new Problem(
      'illegal_state',
      'The login cannot read Freehold’s schema. An administrator must run the statements in `errors`.',
      toRun([`grant freehold_owner to ${facts.login} with admin option, inherit true, set true;`]),
    )
  const [rows = []] = await ask(at, [sql`select name, checksum from freehold.migrations`]).catch((error) => {
    if (dbError(error)?.code === '42703') throw new Problem('illegal_state', BEFORE)
    throw error
  })
  const fault = await ledgerFault(shaped(Ledger, rows), tenantMigrations)
  if (fault?.kind === 'before') throw new Problem('illegal_state', BEFORE)
  if (fault?.kind === 'later')
    throw new Problem('illegal_state', `The schema of the database is of a later release: it has the migration ${fault.name}.`)
  if (fault)
    throw new Problem(
      'illegal_state',
      `The schema of the database is another than that of this release: the migration ${fault.name} differs.`,
    )
  return rows.length > 0
}

const BEFORE = 'The schema of the database was made by a version of Freehold that was never released: it cannot be migrated.'

async function inhabitantOf(at: Connection, admin_email: string): Promise<Inhabitant | null> {
  const [rows = []] = await ask(at, [
    sql`select t.id, t.subdomain, (select count(*)::integer from freehold.users) as users,
          exists (select from freehold.users u where u.email = ${admin_email}) as has_admin from freehold.tenant t`,
  ])
  return shaped(Inhabitants, rows)[0] ?? null
}
