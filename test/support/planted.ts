/** Tenants that nobody asked for at the door: rows of the master, as a creation that got no further leaves them. */
import { sql } from 'drizzle-orm'
import { encrypt } from '../../src/kernel/keyring.ts'
import { hash } from '../../src/passwords/hash.ts'
import { nextRun } from '../../src/tenants/provisioning/provisioning.ts'
import { master, settings } from './databases.ts'
import { ADMIN, newRuc } from './people.ts'

/** A tenant without a run, in a state that no scheduled job touches unless it is `provisioning`. Gives its id. */
export async function plantTenant(subdomain: string, status: 'provisioning' | 'failed' = 'failed'): Promise<string> {
  const config = settings()
  const id = crypto.randomUUID()
  const admin = {
    email: ADMIN.email,
    username: 'bo',
    password_hash: await hash(ADMIN.password, config.PASSWORD_HASH_ITERATIONS),
    must_change_password: false,
  }
  const sealed = await encrypt(config.ENCRYPTION_KEYS, id, 'initial_admin', JSON.stringify(admin))
  await master(
    sql`insert into platform.tenants (id, subdomain, legal_name, tax_id, country, region, admin_email, environment, status, isolation, role_preset, database_name, initial_admin_encrypted)
        values (${id}, ${subdomain}, ${`${subdomain} S.A.C.`}, ${newRuc()}, 'PE', 'aws-us-east-2', ${ADMIN.email}, 'demo', ${status}, 'database', 'minimal',
          ${`freehold_${subdomain.replaceAll('-', '_')}`}, ${sealed})`,
  )
  return id
}

/** A run of a planted tenant that holds its lease for a day. Gives its id. */
export async function plantRun(tenant_id: string): Promise<string> {
  const run_id = crypto.randomUUID()
  await master(
    ...nextRun(tenant_id, run_id, 'a'.repeat(32)),
    sql`update platform.provisioning_runs set lease_until = now() + interval '1 day' where id = ${run_id}`,
  )
  return run_id
}
