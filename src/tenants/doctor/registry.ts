/** What the rows of the master contradict among themselves, as far as no constraint rules it out. */
import { sql } from 'drizzle-orm'
import { MOST_TENANTS } from '../../kernel/config.ts'
import { batch } from '../../kernel/db.ts'
import { decrypt } from '../../kernel/keyring.ts'
import { awakeOn } from '../provisioning/hosts.ts'
import { openOwnerUrl } from '../provisioning/owner-url.ts'
import { finding } from './findings.ts'
import { behind, type Part, page, placedOn, type Sources } from './part.ts'

type Row = {
  id: string
  subdomain: string
  lacks: string[]
  app_url_encrypted: string | null
  owner_url_encrypted: string | null
  refresh_key_encrypted: string | null
}

/** Tenants that lack what every tenant has once it was active, or whose secrets no key of the rings opens. One round trip. */
export const tenantRows: Part = {
  check: 'registry',
  codes: ['tenant_incomplete', 'secret_unreadable'],
  async look(sources, chosen) {
    const { where, rest } = page(chosen, sql`t.subdomain`)
    const [rows = []] = await batch(sources.config.MASTER_DATABASE_URL, [
      sql`select t.id, t.subdomain, t.app_url_encrypted, t.owner_url_encrypted, t.refresh_key_encrypted, to_jsonb(array_remove(array[
            case when t.host_id is null then 'a place on a host' end,
            case when t.isolation = 'branch' and t.branch_id is null then 'its branch' end,
            case when t.app_url_encrypted is null then 'the app login' end,
            case when t.owner_url_encrypted is null then 'the owner login' end,
            case when t.refresh_key_encrypted is null then 'the refresh key' end,
            case when t.schema_version is null then 'the version of its schema' end,
            case when not exists (select from platform.signing_keys k where k.realm_id = t.id) then 'a signing key' end], null)) as lacks
          from platform.tenants t where ${where} and t.status in ('active', 'inactive', 'deleted') ${rest}`,
    ])
    const findings = await Promise.all((rows as Row[]).map((row) => judged(sources, row)))
    return {
      findings: findings.flat(),
      checked: rows.length,
      next: behind(
        chosen,
        rows.map(({ id }) => id),
      ),
    }
  },
}

async function judged({ config }: Sources, row: Row) {
  const { id, subdomain, lacks } = row
  const opens = (field: string, sealed: string | null) => sealed && decrypt(config.ENCRYPTION_KEYS, id, field, sealed)
  const secrets = {
    'the app login': opens('app_url', row.app_url_encrypted),
    'the owner login': row.owner_url_encrypted && openOwnerUrl(config, id, row.owner_url_encrypted),
    'the refresh key': opens('refresh_key', row.refresh_key_encrypted),
  }
  const closed: string[] = []
  for (const [name, opened] of Object.entries(secrets))
    await Promise.resolve(opened).catch(() => {
      closed.push(name)
    })
  return [
    ...(lacks.length ? [finding('tenant_incomplete', subdomain, `It lacks ${lacks.join(', ')}.`, id)] : []),
    ...(closed.length ? [finding('secret_unreadable', subdomain, `No key opens ${closed.join(', ')}.`, id)] : []),
  ]
}

/**
 * Hosts whose places are counted wrong, that hold more tenants than they may, or of which more are awake. The host of one tenant alone
 * has its place taken from the beginning. One round trip.
 */
export const hostRows: Part = {
  check: 'registry',
  codes: ['host_counted', 'host_overfull', 'host_crowded'],
  async look({ config }, chosen) {
    const { where, rest } = page(chosen, sql`t.name`)
    const [rows = []] = await batch(config.MASTER_DATABASE_URL, [
      sql`select t.id, t.name, t.kind, t.capacity, t.taken, ${awakeOn('t')}::integer as awake, case t.kind when 'project' then 1 else ${placedOn(sql`t.id`)} end as placed
          from platform.hosts t where ${where} ${rest}`,
    ])
    const findings = rows.flatMap(({ name, kind, capacity, taken, placed, awake }) => {
      const most = kind === 'database' ? Math.min(Number(capacity), MOST_TENANTS) : Number(capacity)
      return [
        ...(taken === placed
          ? []
          : [finding('host_counted', String(name), `Its places say ${taken} tenants, and ${placed} are there.`)]),
        ...(Number(placed) <= most
          ? []
          : [finding('host_overfull', String(name), `It has ${placed} tenants, and may have ${most}.`)]),
        ...(kind !== 'database' || Number(awake) <= config.HOST_AWAKE
          ? []
          : [
              finding('host_crowded', String(name), `${awake} of its tenants are awake, and HOST_AWAKE is ${config.HOST_AWAKE}.`),
            ]),
      ]
    })
    return {
      findings,
      checked: rows.length,
      next: behind(
        chosen,
        rows.map(({ id }) => id),
      ),
    }
  },
}
