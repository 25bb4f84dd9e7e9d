import { sql } from 'drizzle-orm'
import { Client } from 'pg'
import { batch } from '../../../src/kernel/db.ts'
import { decrypt } from '../../../src/kernel/keyring.ts'
import type { Stage } from '../stage.ts'

type Login = 'app' | 'owner' | 'superuser'

/** A tenant with direct access to its database: a measure plants users into its own one, so that it disturbs no other measure. */
export type Inside = {
  id: string
  /** The app login's connection string, for SQL over HTTP. */
  app_url: string
  /** A direct connection to Postgres. The caller ends it. */
  connect(as: Login): Promise<Client>
}

/** Creates a tenant through the platform API and opens its database. */
export async function makeInside(stage: Stage, subdomain: string): Promise<Inside> {
  const id = await stage.makeTenant(subdomain, await stage.operatorToken())
  const { ENCRYPTION_KEYS, OWNER_KEYS, MASTER_DATABASE_URL } = stage.main.config
  const [[row]] = (await batch(MASTER_DATABASE_URL, [
    sql`select app_url_encrypted, owner_url_encrypted from platform.tenants where id = ${id}`,
  ])) as [[{ app_url_encrypted: string; owner_url_encrypted: string }]]
  const app_url = await decrypt(ENCRYPTION_KEYS, id, 'app_url', row.app_url_encrypted)
  const owner_url = await decrypt(OWNER_KEYS, id, 'owner_url', row.owner_url_encrypted)
  const direct = (as: Login) => {
    const url = new URL(stage.stack.neon.postgresUrl)
    const { username, password, pathname } = new URL(as === 'owner' ? owner_url : app_url)
    return Object.assign(url, as === 'superuser' ? { pathname } : { username, password, pathname }).href
  }
  return {
    id,
    app_url,
    connect: async (as) => {
      const client = new Client({ connectionString: direct(as) })
      await client.connect()
      return client
    },
  }
}
