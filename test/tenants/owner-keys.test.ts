/** Threat: whoever learns the key ring that every request needs opens the logins that own the tenants' data. */
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import { decrypt, encrypt } from '../../src/kernel/keyring.ts'
import { propagate } from '../../src/tenants/lifecycle/lifecycle.ts'
import { checkpointAudit } from '../../src/tenants/maintenance/checkpoints.ts'
import { openOwnerUrl, reencryptOwnerUrls, sealOwnerUrl } from '../../src/tenants/provisioning/owner-url.ts'
import { master, settings } from '../support/databases.ts'
import { call, makeTenant, operatorToken } from '../support/people.ts'

const TRACE = '00000000000000000000000000000002'
let id: string
let host_id: string

beforeAll(async () => {
  id = (await makeTenant('two-rings')).id
  const [row] = await master(sql`select host_id from platform.tenants where id = ${id}`)
  host_id = row?.host_id
})

const sealedOf = async () => {
  const [row] = await master(
    sql`select t.app_url_encrypted as app, t.owner_url_encrypted as owner, t.refresh_key_encrypted as refresh, t.v, h.owner_url_encrypted as host
        from platform.tenants t join platform.hosts h on h.id = t.host_id where t.id = ${id}`,
  )
  return row as { app: string; owner: string; refresh: string; host: string; v: string }
}

/** Leaves the owner login of the tenant as it was written before there was a ring for it. */
async function writeAsBefore() {
  const { owner } = await sealedOf()
  const url = await openOwnerUrl(settings(), id, owner)
  const old = await encrypt(settings().ENCRYPTION_KEYS, id, 'owner_url', url)
  await master(sql`update platform.tenants set owner_url_encrypted = ${old} where id = ${id}`)
  return { url, old }
}

describe('the owner logins of a tenant and of its host', () => {
  it('open with OWNER_KEYS and not with ENCRYPTION_KEYS; everything else is the other way round', async () => {
    const { OWNER_KEYS, ENCRYPTION_KEYS } = settings()
    const { app, owner, refresh, host } = await sealedOf()
    for (const [whose, sealed] of [
      [id, owner],
      [host_id, host],
    ] as const) {
      expect(await decrypt(OWNER_KEYS, whose, 'owner_url', sealed)).toMatch(/^postgresql:/)
      await expect(decrypt(ENCRYPTION_KEYS, whose, 'owner_url', sealed)).rejects.toThrow()
    }
    for (const [field, sealed] of [
      ['app_url', app],
      ['refresh_key', refresh],
    ] as const) {
      expect(await decrypt(ENCRYPTION_KEYS, id, field, sealed)).not.toBe('')
      await expect(decrypt(OWNER_KEYS, id, field, sealed)).rejects.toThrow()
    }
  })

  it('are sealed with the first key of the ring, and open with each', async () => {
    const key = (fill: number) => new Uint8Array(32).fill(fill)
    const [one, two] = [
      { id: 'o1', key: key(1) },
      { id: 'o2', key: key(2) },
    ]
    const ENCRYPTION_KEYS = [{ id: 'o1', key: key(3) }]
    const old = await sealOwnerUrl({ OWNER_KEYS: [one] }, id, 'secret')
    expect(await openOwnerUrl({ OWNER_KEYS: [two, one], ENCRYPTION_KEYS }, id, old)).toBe('secret')
    expect(await sealOwnerUrl({ OWNER_KEYS: [two, one] }, id, 'secret')).toMatch(/^o2\./)
    await expect(openOwnerUrl({ OWNER_KEYS: [two], ENCRYPTION_KEYS }, id, old)).rejects.toThrow('OWNER_KEYS has no key o1')
  })

  it('that were written under ENCRYPTION_KEYS still work: lifecycle, maintenance', async () => {
    const { url, old } = await writeAsBefore()
    expect(await openOwnerUrl(settings(), id, old)).toBe(url)
    const token = await operatorToken()
    for (const verb of ['deactivate', 'activate'])
      expect((await call('', `/platform/v1/tenants/${id}/${verb}`, { method: 'POST', token })).status, verb).toBe(200)
    await propagate({ env, config: settings(), meter: { master: 0 }, trace_id: TRACE }, id)
    // What is younger than any transaction that is open in the cluster waits for its end: that of another file's, too.
    const checkpointed = async () => expect(await checkpointAudit(settings(), 'two-rings')).toBe(1)
    await vi.waitFor(checkpointed, { timeout: 60_000, interval: 250 })
  })

  it('are encrypted again by a command, once; no new version is published for it, and the audit has it without a value', async () => {
    const { url, old } = await writeAsBefore()
    const before = await sealedOf()
    expect(await reencryptOwnerUrls(settings(), TRACE)).toBe(1)
    const after = await sealedOf()
    expect(await decrypt(settings().OWNER_KEYS, id, 'owner_url', after.owner)).toBe(url)
    expect([after.v, after.host]).toEqual([before.v, before.host])
    expect(await reencryptOwnerUrls(settings(), TRACE)).toBe(0)
    const [entry] = await master(
      sql`select d.after from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id where l.resource_id = ${id} order by l.at desc limit 1`,
    )
    expect(entry?.after).toEqual({ owner_url_encrypted: '***' })
    expect(JSON.stringify(entry)).not.toContain(old)
  })
})
