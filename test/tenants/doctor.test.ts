/** What the doctor finds in the registry and in KV, and mends; and how it is asked. */
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { kvKey } from '../../src/tenants/registry/registry.ts'
import { signed } from '../../src/tenants/registry/signature.ts'
import { master, settings } from '../support/databases.ts'
import { about, codes, examine, fix, mended, patient, settle } from '../support/doctor.ts'
import { plantRun, plantTenant } from '../support/planted.ts'
import { expectProblem } from '../support/refusal.ts'

const NAME = 'ill'
let id: string

beforeAll(async () => {
  id = (await patient(NAME)).id
})

describe('a tenant that is well', () => {
  it('is no finding of any check', async () => {
    for (const check of ['registry', 'kv', 'neon', 'work']) {
      const found = (await examine(check)).filter((each) => each.tenant_id === id)
      expect(found, check).toEqual([])
    }
  })

  it('is none while it is created or erased, as long as its lease runs', async () => {
    const making = await plantTenant('ill-making', 'provisioning')
    await plantRun(making)
    const erasing = await plantTenant('ill-erasing')
    await master(
      sql`update platform.tenants set status = 'erasing', erasing_until = now() + interval '1 hour' where id = ${erasing}`,
    )
    expect([await codes('work', 'ill-making'), await codes('work', 'ill-erasing')]).toEqual([[], []])
    await master(
      sql`update platform.provisioning_runs set state = 'failed' where tenant_id = ${making}`,
      sql`update platform.tenants set status = 'failed' where id in (${making}, ${erasing})`,
    )
  })
})

describe('the entry in KV', () => {
  const entry = async () => {
    const { signature: _, ...said } = JSON.parse((await env.TENANTS.get(kvKey(NAME))) ?? '{}')
    return said
  }
  it.each<[string, string, () => Promise<unknown>]>([
    ['kv_missing', 'is missing', () => env.TENANTS.delete(kvKey(NAME))],
    ['kv_forged', 'is no JSON', () => env.TENANTS.put(kvKey(NAME), 'nonsense')],
    ['kv_forged', 'is null', () => env.TENANTS.put(kvKey(NAME), 'null')],
    [
      'kv_forged',
      'says something else under its signature',
      async () => {
        const text = (await env.TENANTS.get(kvKey(NAME))) ?? ''
        await env.TENANTS.put(kvKey(NAME), JSON.stringify({ ...JSON.parse(text), legal_name: 'Mallory' }))
      },
    ],
    [
      'kv_stale',
      'is older',
      async () => {
        const said = await entry()
        await env.TENANTS.put(kvKey(NAME), await signed(settings(), { ...said, v: said.v - 1 }))
      },
    ],
    [
      'kv_stale',
      'is newer',
      async () => {
        const said = await entry()
        await env.TENANTS.put(kvKey(NAME), await signed(settings(), { ...said, v: said.v + 1_000 }))
      },
    ],
    [
      'kv_other',
      'has the version, and says something else',
      async () => {
        const said = await entry()
        await env.TENANTS.put(kvKey(NAME), await signed(settings(), { ...said, legal_name: 'Another' }))
      },
    ],
  ])('%s: it %s', async (code, _, plant) => {
    await plant()
    await mended('kv', code, NAME)
  })

  it('is not judged when the tenant changed in this minute: KV may be behind', async () => {
    await master(sql`update platform.tenants set updated_at = now() where id = ${id}`)
    const kept = (await env.TENANTS.get(kvKey(NAME))) ?? ''
    await env.TENANTS.delete(kvKey(NAME))
    expect(await codes('kv', NAME)).toEqual([])
    await env.TENANTS.put(kvKey(NAME), kept)
    await settle(NAME)
  })

  it('kv_orphaned: it is of nobody', async () => {
    await env.TENANTS.put(kvKey('ill-nobody'), '{}')
    await mended('kv', 'kv_orphaned', kvKey('ill-nobody'))
  })

  it('of a tenant that failed is not of nobody', async () => {
    await plantTenant('ill-failed-key')
    await env.TENANTS.put(kvKey('ill-failed-key'), '{}')
    expect(await codes('kv', kvKey('ill-failed-key'))).toEqual([])
    expectProblem(await fix('kv_orphaned', kvKey('ill-failed-key')), 409, 'illegal_state')
    expect(await env.TENANTS.get(kvKey('ill-failed-key'))).toBe('{}')
  })
})

describe('the registry', () => {
  it('tenant_incomplete, secret_unreadable: a tenant without what it needs, or whose key is lost', async () => {
    const [kept] = await master(
      sql`select owner_url_encrypted, schema_version, refresh_key_encrypted from platform.tenants where id = ${id}`,
    )
    await master(
      sql`update platform.tenants set owner_url_encrypted = null, schema_version = null, refresh_key_encrypted = 'k1.AAAAAAAAAAAAAAAA.AAAA' where id = ${id}`,
    )
    const found = await about('registry', NAME)
    await master(
      sql`update platform.tenants set owner_url_encrypted = ${kept?.owner_url_encrypted}, schema_version = ${kept?.schema_version}, refresh_key_encrypted = ${kept?.refresh_key_encrypted} where id = ${id}`,
    )
    expect(found.map(({ code, detail, fix, tenant_id }) => [code, detail, fix, tenant_id])).toEqual([
      ['tenant_incomplete', 'It lacks the owner login, the version of its schema.', null, id],
      ['secret_unreadable', 'No key opens the refresh key.', null, id],
    ])
    expect(await codes('registry', NAME)).toEqual([])
  })

  it('host_counted, host_overfull: a host whose places are not what is there', async () => {
    const name = 'ill-host'
    await master(
      sql`insert into platform.hosts (id, name, kind, state, region, capacity, taken, lease_until) values (gen_random_uuid(), ${name}, 'none', 'opening', 'x', 1, 1, now() + interval '1 day') on conflict do nothing`,
    )
    expect(await codes('registry', name)).toEqual(['host_counted'])
    expect((await fix('host_counted', name)).status).toBe(200)
    expect(await codes('registry', name)).toEqual([])
    const crowd = [await plantTenant('ill-crowd-a'), await plantTenant('ill-crowd-b')]
    for (const tenant of crowd)
      await master(
        sql`update platform.tenants set host_id = (select h.id from platform.hosts h where h.name = ${name}) where id = ${tenant}`,
      )
    expect((await codes('registry', name)).sort()).toEqual(['host_counted', 'host_overfull'])
    for (const tenant of crowd) await master(sql`update platform.tenants set host_id = null where id = ${tenant}`)
    await master(sql`delete from platform.hosts where name = ${name}`)
  })
})
