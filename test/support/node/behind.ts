import { sql } from 'drizzle-orm'
import { migrationsIn, type Stack } from '../../../scripts/dev/stack.ts'
import { parseSettings } from '../../../src/kernel/config.ts'
import { batch } from '../../../src/kernel/db.ts'
import { jobOf, type MasterRow } from '../../../src/tenants/provisioning/job.ts'
import { migrate } from '../../../src/tenants/provisioning/migrations.ts'

type Inside = (subdomain: string, text: string, values?: unknown[]) => Promise<any[]>

const TABLES = `select c.oid::regclass::text as name, (select string_agg(quote_ident(a.attname), ', ') from pg_attribute a
    where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = '') as columns
  from pg_class c where c.relkind in ('r', 'p') and c.relnamespace in ('freehold'::regnamespace, 'access'::regnamespace) and c.relname <> 'migrations'`

/**
 * Makes the database of a tenant as the release before left it: its schema is dropped and made again by the migrations but the newest,
 * and its rows are put back, of each table the columns that it had then. `inside` runs SQL in it as Postgres' superuser.
 */
export async function setBack({ env }: Stack, subdomain: string, inside: Inside): Promise<void> {
  const config = parseSettings(env)
  const migrations = (await migrationsIn('tenant')).slice(0, -1)
  const [rows] = await batch(config.MASTER_DATABASE_URL, [
    sql`select to_jsonb(t) as tenant from platform.tenants t where t.subdomain = ${subdomain}`,
  ])
  const { tenant } = await jobOf(config, rows?.[0]?.tenant as MasterRow, null, '0'.repeat(32))
  const kept = new Map<string, string>()
  for (const { name } of await inside(subdomain, TABLES)) {
    const [all] = await inside(subdomain, `select coalesce(jsonb_agg(to_jsonb(t)), '[]')::text as rows from ${name} t`)
    kept.set(name, all.rows)
  }
  await inside(subdomain, 'drop schema freehold cascade; drop schema access cascade')
  await migrate(String(tenant.owner_url), migrations)
  for (const { name, columns } of await inside(subdomain, TABLES))
    await inside(
      subdomain,
      `set session_replication_role = replica;
       insert into ${name} (${columns}) overriding system value select ${columns} from jsonb_populate_recordset(null::${name}, $rows$${kept.get(name) ?? '[]'}$rows$::jsonb)`,
    )
  await batch(config.MASTER_DATABASE_URL, [
    sql`update platform.tenants set schema_version = ${migrations.at(-1)?.name} where subdomain = ${subdomain}`,
  ])
}

/** While there is a row, whoever changes a definition in this database stops after it, in the middle of the transaction. */
export const HOLD = `
  create table public.held ();
  create or replace function public.hold() returns event_trigger language plpgsql security definer set search_path = public as $$
  begin while exists (select from public.held) loop perform pg_sleep(0.02); end loop; end $$;
  create event trigger hold on ddl_command_end execute function public.hold()`

/** What a migration changes in a database, in one line. */
export const SHAPE = `select md5(string_agg(x, ',' order by x)) as shape from (
         select c.relname || a.attname as x from pg_attribute a join pg_class c on c.oid = a.attrelid where c.relnamespace in ('freehold'::regnamespace, 'access'::regnamespace)
         union all select p.oid::regprocedure || md5(p.prosrc) from pg_proc p where p.pronamespace = 'access'::regnamespace
         union all select name from freehold.migrations) y`
