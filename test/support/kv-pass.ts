/** The daily comparison of KV with the master, whose place is a row of the master. */
import { sql } from 'drizzle-orm'
import { master } from './databases.ts'

/** Sets the pass back to before a tenant: the next slice begins with it. */
export const compareNext = (subdomain: string) =>
  master(
    sql`insert into platform.kv_pass as p (part, place, size, lease_until)
        select 'tenants', coalesce((select x.id::text from platform.tenants x where x.id < t.id order by x.id desc limit 1), ''), 100, now()
        from platform.tenants t where t.subdomain = ${subdomain}
        on conflict (one) do update set part = excluded.part, place = excluded.place, size = 100, lease_until = now()`,
  )

/** Sets the pass back to the first key of KV. */
export const compareKeysNext = () =>
  master(
    sql`insert into platform.kv_pass as p (part, size, lease_until) values ('keys', 100, now())
        on conflict (one) do update set part = 'keys', place = '', lease_until = now()`,
  )
