/**
 * The connection strings of owner logins, of tenants and hosts. Threat: whoever learns ENCRYPTION_KEYS, which every request needs,
 * opens the logins that own all data. So they have a key ring of their own, OWNER_KEYS, which is named here and in the settings
 * alone, and only adoption, provisioning, lifecycle and maintenance call this.
 */
import { sql } from 'drizzle-orm'
import type { Config } from '../../kernel/config.ts'
import { batch } from '../../kernel/db.ts'
import { decrypt, encrypt } from '../../kernel/keyring.ts'

type Rings = Pick<Config, 'OWNER_KEYS' | 'ENCRYPTION_KEYS'>

/** Encrypts the connection string of an owner login; `id` is the tenant's or the host's. */
export const sealOwnerUrl = (config: Pick<Config, 'OWNER_KEYS'>, id: string, url: string) =>
  encrypt(config.OWNER_KEYS, id, 'owner_url', url)

/** Decrypts it. One that was written before there was OWNER_KEYS opens with ENCRYPTION_KEYS. Fails when neither has its key. */
export async function openOwnerUrl({ OWNER_KEYS, ENCRYPTION_KEYS }: Rings, id: string, sealed: string): Promise<string> {
  try {
    return await decrypt(OWNER_KEYS, id, 'owner_url', sealed)
  } catch (error) {
    return decrypt(ENCRYPTION_KEYS, id, 'owner_url', sealed).catch(() => {
      throw error
    })
  }
}

/** True when the first key of OWNER_KEYS opens it. */
async function isCurrent({ OWNER_KEYS }: Rings, id: string, sealed: string): Promise<boolean> {
  return decrypt(OWNER_KEYS.slice(0, 1), id, 'owner_url', sealed).then(
    () => true,
    () => false,
  )
}

/** Rows that are read at once. */
const PAGE = 200
/** Where owner logins are, and whose each is. */
export const OWNER_LOGINS = [
  ['platform.hosts', 'id'],
  ['platform.tenants', 'id'],
  ['platform.tenant_moves', 'tenant_id'],
  ['platform.credential_rotations', 'tenant_id'],
] as const

/**
 * Encrypts again, under the first key of OWNER_KEYS, what another key encrypted. Repeatable; a value that changes meanwhile stays as
 * it is. Returns how many. One round trip to the master for each 200, and one for each value.
 */
export async function reencryptOwnerUrls(config: Rings & Pick<Config, 'MASTER_DATABASE_URL'>, trace_id: string): Promise<number> {
  let changed = 0
  for (const [name, whose] of OWNER_LOGINS) {
    const table = sql.raw(name)
    for (let last = ''; ; ) {
      const [rows = []] = await batch(config.MASTER_DATABASE_URL, [
        sql`select id, ${sql.raw(whose)} as whose, owner_url_encrypted as sealed from ${table}
            where owner_url_encrypted is not null and id::text > ${last} order by id::text limit ${PAGE}`,
      ])
      for (const row of rows) {
        const { id, whose, sealed } = row as { id: string; whose: string; sealed: string }
        if (await isCurrent(config, whose, sealed)) continue
        const fresh = await sealOwnerUrl(config, whose, await openOwnerUrl(config, whose, sealed))
        const [done = []] = await batch(
          config.MASTER_DATABASE_URL,
          [
            sql`update ${table} set owner_url_encrypted = ${fresh} where id = ${id} and owner_url_encrypted = ${sealed} returning id`,
          ],
          trace_id,
        )
        changed += done.length
      }
      if (rows.length < PAGE) break
      last = String(rows.at(-1)?.id)
    }
  }
  return changed
}
