/**
 * Threat: what lies beside the Worker is of another release, is cut off, or is not there; and it is run as the owner of a database, or
 * passwords are taken unchecked because the list of the commonest is empty.
 */
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import { assetText } from '../../src/assets/assets.ts'
import type { Env } from '../../src/kernel/env.ts'
import { COMMONEST } from '../../src/passwords/commonest-sum.ts'
import { tenantFingerprint, tenantMigrations } from '../../src/tenants/provisioning/bundled.ts'
import { checksumOf, type Migration, migrate } from '../../src/tenants/provisioning/migrations.ts'
import { type Database, databaseOf } from '../support/databases.ts'
import { copyTenant } from '../support/tenants.ts'

const UNAVAILABLE = expect.objectContaining({ code: 'asset_unavailable', status: 503 })
const fileOf = ({ name }: Migration) => `drizzle/${name}.sql`
const [first, second] = tenantMigrations as [Migration, Migration]

describe('an asset', () => {
  it('is there, each that the Worker reads, with the checksum that it knows', async () => {
    for (const migration of tenantMigrations) {
      const text = 'read' in migration ? await migration.read() : ''
      expect(await checksumOf({ name: migration.name, text }), migration.name).toBe(await checksumOf(migration))
    }
    expect(Object.keys(JSON.parse(await tenantFingerprint())).length).toBeGreaterThan(100)
    expect((await assetText(COMMONEST.path, COMMONEST.checksum)).length).toBeGreaterThan(50_000)
  })

  it('is refused with another text than that whose checksum the Worker has', async () => {
    const other = await checksumOf({ name: 'other', text: 'select 1' })
    await expect(assetText(fileOf(first), other)).rejects.toEqual(UNAVAILABLE)
    await expect(assetText(COMMONEST.path, other)).rejects.toEqual(UNAVAILABLE)
  })

  it('is refused when it is not there', async () => {
    const other = await checksumOf({ name: 'other', text: 'select 1' })
    await expect(assetText('drizzle/tenant/9999_nothing.sql', other)).rejects.toEqual(UNAVAILABLE)
  })

  it('is given up when it does not come, after the time that its reader has', async () => {
    const assets = (env as unknown as Env).ASSETS
    const never = vi
      .spyOn(assets, 'fetch')
      .mockImplementation(
        (_, init) => new Promise((_, fail) => init?.signal?.addEventListener('abort', () => fail(init.signal?.reason))),
      )
    try {
      await expect(assetText('words/none.json', null, 50)).rejects.toEqual(UNAVAILABLE)
    } finally {
      never.mockRestore()
    }
  })

  it('says in the cause which one it was and why, for whoever reads the report of a migration', async () => {
    const other = await checksumOf({ name: 'other', text: 'select 1' })
    const why = (path: string) => assetText(path, other).catch(({ cause }) => cause.message)
    expect(await why(fileOf(second))).toMatch(
      /^drizzle\/tenant\/0001_cost\.sql: It has the SHA-256 [0-9a-f]{64}, and not [0-9a-f]{64}\.$/,
    )
    expect(await why('drizzle/tenant/9999_nothing.sql')).toBe('drizzle/tenant/9999_nothing.sql: The answer has status 404.')
  })
})

describe('a migration whose asset is another', () => {
  let database: Database
  beforeAll(async () => {
    await copyTenant('tampered')
    database = await databaseOf('tampered')
  })

  it('is not applied, and nothing of it is in the ledger', async () => {
    const checksum = await checksumOf({ name: 'other', text: 'select 1' })
    const tampered = { name: 'tenant/9000_tampered', checksum, read: () => assetText(fileOf(second), checksum) }
    await expect(migrate(database.owner_url, [...tenantMigrations, tampered])).rejects.toEqual(UNAVAILABLE)
    const ledger = await database.asOwner(sql`select name from freehold.migrations order by name`)
    expect(ledger.map(({ name }) => name)).toEqual(tenantMigrations.map(({ name }) => name))
  })
})
