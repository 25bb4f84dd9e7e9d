import { fileURLToPath } from 'node:url'
import { type SQL, sql } from 'drizzle-orm'
import { Client } from 'pg'
import { batch, connect } from '../../src/kernel/db.ts'
import { decrypt, encrypt } from '../../src/kernel/keyring.ts'
import { newToken } from '../../src/kernel/token.ts'
import { openOwnerUrl, sealOwnerUrl } from '../../src/tenants/provisioning/owner-url.ts'
import { firstSigningKey } from '../../src/tenants/registry/keys.ts'
import { inOrder, readDefinitions } from '../migration/definitions.ts'
import type { Stage } from './stage.ts'

const PREFIX = 'fleet-'
/** What the registry says of a tenant that a run shall not see: the schema of a later release. */
export const LATER = 'bench'
const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/** A migration that makes every function of a tenant's database again, as `npm run migration` writes those that changed. */
export function definitionsText(): string {
  const functions = readDefinitions(ROOT).filter(({ kind, database }) => kind === 'function' && database === 'tenant')
  return inOrder(functions)
    .map(({ text }) => text.replace(/^create (or replace )?/i, 'create or replace '))
    .join(';\n--> statement-breakpoint\n')
}

/** A tenant whose database is a copy of another's. */
export type Copy = { id: string; database: string }

/**
 * Copies a new tenant so many times: its database, its row and its keys, with its logins. Their subdomains begin with `fleet-`.
 */
export async function makeFleet(stage: Stage, count: number): Promise<Copy[]> {
  const { config } = stage.main
  const master = (...statements: SQL[]) => batch(config.MASTER_DATABASE_URL, statements)
  const source = await stage.makeTenant('copied-fleet', await stage.operatorToken())
  const [[row]] = (await master(
    sql`select t.*, h.id as host, h.owner_url_encrypted as host_url from platform.tenants t join platform.hosts h on h.id = t.host_id where t.id = ${source}`,
  )) as [[Record<string, string>]]
  const host_url = await openOwnerUrl(config, String(row.host), String(row.host_url))
  const of = String(row.database_name)
  const app_url = await decrypt(config.ENCRYPTION_KEYS, source, 'app_url', String(row.app_url_encrypted))
  const owner_url = await decrypt(config.OWNER_KEYS, source, 'owner_url', String(row.owner_url_encrypted))
  const refresh_key = await decrypt(config.ENCRYPTION_KEYS, source, 'refresh_key', String(row.refresh_key_encrypted))
  const copies: Copy[] = []
  for (let n = 0; n < count; n++) {
    const id = crypto.randomUUID()
    const database = `${of}_${n}`
    // Through Neon, which knows its databases.
    await connect(host_url).execute(sql.raw(`create database "${database}" template "${of}" strategy file_copy`))
    await connect(host_url).execute(sql.raw(`grant create on database "${database}" to freehold_owner`))
    const at = (url: string) => Object.assign(new URL(url), { pathname: `/${database}` }).href
    await direct(stage, database, async (client) => {
      await client.query(`set session_replication_role = replica`)
      await client.query('update freehold.tenant set id = $1', [id])
    })
    await master(
      sql`insert into platform.tenants (id, subdomain, legal_name, tax_id, country, region, admin_email, environment, status, isolation, role_preset, database_name, host_id,
            app_url_encrypted, owner_url_encrypted, refresh_key_encrypted)
          select ${id}, ${`${PREFIX}${n}`}, ${`${PREFIX}${n}`}, ${`${PREFIX}${newToken().slice(0, 8)}`}, 'PE', region, admin_email, environment, status, isolation, role_preset, ${database}, host_id,
            ${await encrypt(config.ENCRYPTION_KEYS, id, 'app_url', at(app_url))}, ${await sealOwnerUrl(config, id, at(owner_url))},
            ${await encrypt(config.ENCRYPTION_KEYS, id, 'refresh_key', refresh_key)}
          from platform.tenants where id = ${source}`,
      await firstSigningKey(config, id),
    )
    copies.push({ id, database })
  }
  return copies
}

/** Work in a database as the superuser of the cluster. */
export async function direct<T>(stage: Stage, database: string, work: (client: Client) => Promise<T>): Promise<T> {
  const url = Object.assign(new URL(stage.stack.neon.postgresUrl), { pathname: `/${database}` })
  const client = new Client({ connectionString: url.href })
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}
