/** A database of somebody else's, in a Neon project of their own: what they have there, and whether it is as it was. */
import { env } from 'cloudflare:workers'
import { type SQL, sql } from 'drizzle-orm'
import { expect } from 'vitest'
import { kvKey } from '../../src/tenants/registry/registry.ts'
import { askNeon } from './ask-neon.ts'
import { atDatabase, databaseOf, master, type Rows, rowsOf } from './databases.ts'
import { call, login, makeTenant, operatorToken, wanted } from './people.ts'

export type Stranger = {
  /** The connection string of the API role that owns it. */
  url: string
  host: string
  project_id: string
  branch_id: string
  /** The API role, and its connection string to the project's own database. */
  login: string
  elsewhere: string
  asOwner: (...statements: SQL[]) => Promise<Rows>
}

const post = (path: string, body: object) => askNeon(path, { method: 'POST', body: JSON.stringify(body) })

/** Makes one, empty. */
export async function strangersDatabase(name: string): Promise<Stranger> {
  const { project, branch, roles, connection_uris } = await post('/projects', { project: { name: `stranger-${name}` } })
  const { name: login } = roles[0]
  const at = `/projects/${project.id}/branches/${branch.id}`
  await post(`${at}/databases`, { database: { name: `shop_${name.replaceAll('-', '_')}`, owner_name: login } })
  const elsewhere: string = connection_uris[0].connection_uri
  const url = atDatabase(elsewhere, `shop_${name.replaceAll('-', '_')}`)
  const { hostname: host } = new URL(url)
  return { url, host, login, elsewhere, project_id: project.id, branch_id: branch.id, asOwner: (...all) => rowsOf(url, ...all) }
}

/** Makes another database beside theirs, and gives its connection string. */
export async function beside({ project_id, branch_id, login, url }: Stranger, name: string): Promise<string> {
  await post(`/projects/${project_id}/branches/${branch_id}/databases`, { database: { name, owner_name: login } })
  return atDatabase(url, name)
}

/** A login of theirs, made by SQL, which the owner of the database knows nothing else of. */
export async function strangersLogin({ url }: Stranger, name: string, options = 'login'): Promise<string> {
  const password = `pw-${crypto.randomUUID()}`
  await rowsOf(url, sql.raw(`create role ${name} ${options} password '${password}'`))
  return Object.assign(new URL(url), { username: name, password }).href
}

/** What they have there: a schema with rows, a view, a function, a trigger, grants. */
export const fillShop = ({ asOwner }: Stranger, reader: string) =>
  asOwner(
    sql`create schema shop`,
    sql`create table shop.orders (id integer primary key, total numeric(10, 2) not null check (total > 0), placed_at timestamptz not null default now())`,
    sql`create index orders_placed on shop.orders (placed_at)`,
    sql`insert into shop.orders (id, total, placed_at) select n, n * 1.5, '2026-01-01'::timestamptz + n * interval '1 hour' from generate_series(1, 500) n`,
    sql`create view shop.totals as select date_trunc('day', placed_at) as day, sum(total) as total from shop.orders group by 1`,
    sql`create function shop.touch() returns trigger language plpgsql as $$ begin return new; end $$`,
    sql`create trigger touch before update on shop.orders for each row execute function shop.touch()`,
    sql`create table public.notes (note text)`,
    sql`insert into public.notes values ('mine')`,
    sql.raw(`grant usage on schema shop to ${reader}`),
    sql.raw(`grant select on shop.orders to ${reader}`),
  )

/** Every line of the catalogue that is not Freehold's or Postgres' own, the rows, and who may do what with the database. */
export async function shopOf({ asOwner }: Stranger): Promise<string[]> {
  const rows = await asOwner(
    sql`with theirs as (select oid, nspname, nspowner, nspacl from pg_namespace where nspname not in ('freehold', 'access', 'information_schema') and nspname !~ '^pg_')
      select 'schema ' || nspname || ' ' || nspowner::regrole || ' ' || coalesce(nspacl::text, '') as line from theirs
      union all select 'relation ' || c.relnamespace::regnamespace || '.' || c.relname || ' ' || c.relkind::text || ' ' || c.relowner::regrole || ' ' || coalesce(c.relacl::text, '') || ' ' || c.relfilenode from pg_class c join theirs on theirs.oid = c.relnamespace
      union all select 'column ' || c.relname || ' ' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod) || ' ' || a.attnotnull from pg_attribute a join pg_class c on c.oid = a.attrelid join theirs on theirs.oid = c.relnamespace where a.attnum > 0
      union all select 'constraint ' || conname || ' ' || pg_get_constraintdef(k.oid) from pg_constraint k join theirs on theirs.oid = k.connamespace
      union all select 'function ' || p.oid || ' ' || md5(p.prosrc) from pg_proc p join theirs on theirs.oid = p.pronamespace
      union all select 'trigger ' || pg_get_triggerdef(t.oid) from pg_trigger t join pg_class c on c.oid = t.tgrelid join theirs on theirs.oid = c.relnamespace
      union all select 'may ' || a.grantee::regrole || ' ' || a.privilege_type from pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a where d.datname = current_database()`,
  )
  const [held] = await asOwner(
    sql`select coalesce(query_to_xml('select to_regclass(''shop.orders'')', true, false, '')::text, '') as there,
      case when to_regclass('shop.orders') is null then '' else md5(query_to_xml('select * from shop.orders order by id', true, false, '')::text) end as orders`,
  )
  return [...rows.map(({ line }) => String(line)), `rows ${held?.orders}`].sort()
}

/** Asks for the adoption of a database, and waits for it. */
export const adopt = async (
  subdomain: string,
  connection_string: string,
  more: object = {},
  settings: Record<string, string> = {},
  token?: string,
  prefer = 'wait=30',
) =>
  call('', '/platform/v1/tenants/adopt', {
    token: token ?? (await operatorToken()),
    body: { ...wanted(subdomain), connection_string, ...more },
    headers: { Prefer: prefer },
    ...(Object.keys(settings).length && { settings }),
  })

/** Erases a tenant, and waits until it is gone. */
export async function eraseTenant(id: string, subdomain: string): Promise<void> {
  const token = await operatorToken()
  const answer = await call('', `/platform/v1/tenants/${id}?hard=true&confirm=${subdomain}`, { method: 'DELETE', token })
  expect(answer.status, JSON.stringify(answer.body)).toBe(202)
  for (let i = 0; i < 200; i++) {
    if ((await call('', `/platform/v1/tenants/${id}`, { token })).status === 404) return
    await scheduler.wait(50)
  }
  throw new Error('The tenant is still there.')
}

/** Makes a tenant of an isolation: of `external` in a database of a stranger's, which is empty. */
export async function makeIsolated(name: string, isolation: string, token?: string): Promise<any> {
  if (isolation !== 'external') return makeTenant(name, { isolation }, token)
  const { status, body } = await adopt(name, (await strangersDatabase(name)).url, {}, {}, token)
  expect(status, JSON.stringify(body)).toBe(201)
  return body
}

/** A tenant whose deployment is not this one any more: its registry has forgotten it. */
export async function orphaned(database: string, name: string) {
  const shop = await strangersDatabase(database)
  const { body, status } = await adopt(name, shop.url)
  expect(status, JSON.stringify(body)).toBe(201)
  const then = await databaseOf(name)
  const session = await login(name)
  await master(
    sql`delete from platform.provisioning_steps where tenant_id = ${body.id}`,
    sql`delete from platform.provisioning_runs where tenant_id = ${body.id}`,
    sql`delete from platform.signing_keys where realm_id = ${body.id}`,
    sql`delete from platform.tenants where id = ${body.id}`,
    sql`delete from platform.hosts where name = ${`freehold-tenant-${body.id}`}`,
  )
  await env.TENANTS.delete(kvKey(name))
  return { shop, name, then, session, id: body.id as string }
}

/** The owner of a database changes the password of its login; gives the new connection string. */
export async function changePassword({ project_id, branch_id, login: name, url }: Stranger): Promise<string> {
  const { role } = await post(`/projects/${project_id}/branches/${branch_id}/roles/${name}/reset_password`, {})
  return Object.assign(new URL(url), { password: role.password }).href
}
