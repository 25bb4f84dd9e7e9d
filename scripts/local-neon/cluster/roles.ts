import { Client } from 'pg'

/**
 * The roles that Neon has in every branch. Unlike on Neon, nobody connects to `postgres` and `template1` by default: one cluster
 * holds every branch, and these two would be common ground.
 */
export async function prepareRoles(url: string): Promise<void> {
  const client = new Client({ connectionString: url })
  await client.connect()
  await client.query(PREPARE)
  await client.end()
}

const PREPARE = `
  do $$
  begin
    if not exists (select from pg_roles where rolname = 'neon_superuser') then
      create role neon_superuser nologin createdb createrole replication bypassrls;
      grant pg_read_all_data, pg_write_all_data, pg_monitor, pg_signal_backend, pg_create_subscription
        to neon_superuser with admin option;
    end if;
  end
  $$;
  revoke connect, temporary on database postgres, template1 from public;
`
