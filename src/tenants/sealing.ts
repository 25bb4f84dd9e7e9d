/**
 * Sealing: each realm's new entries of the audit under one more link of its chain (access.seal_audit), and the newest link into the master.
 * Threat: who can write a tenant's database makes its chain anew. So the master's head moves only from a seal to one that follows it: what is
 * there under the number that the master knows must have the hash that the master knows.
 */
import { sql } from 'drizzle-orm'
import { type Head, type Verdict, verify } from '../audit/verify.ts'
import type { Config } from '../kernel/config.ts'
import { batch } from '../kernel/db.ts'
import { decrypt } from '../kernel/keyring.ts'
import { log } from '../kernel/log.ts'
import { claimVisits, settled } from './visits.ts'

/** People of one realm who are told in one run that their password expires. */
const MOST_WARNED = 100
/** Rows of each kind that go in one run, of those that have outlived their purpose. */
const MOST_SWEPT = 5_000
/** Entries under one seal at most, and seals of one realm in one run. */
const BATCH = 5_000
const MOST_SEALS = 20
/** An invocation of a Worker has six connections, and the other scheduled work needs some. */
const AT_ONCE = 3
/** After that no more tenants are begun: the next run comes after a minute. */
const RUN_MS = 50_000

type Realm = { id: string; name: string; owner_url_sealed: string | null; head: Head | null }
/** What a visit found: a head that moved, whether mail is due, and when the next visit is (null: at once). */
type Found = { realm_id: string; name: string; head: Head | null; is_mail_due: boolean; due_at: string | null }

const HEAD = sql`(select jsonb_build_object('no', h.no, 'hash', h.hash, 'entries', h.entries, 'sealed_at', h.sealed_at) from platform.audit_heads h where h.realm_id = x.id) as head`
const TENANTS = sql`select x.id, x.subdomain as name, x.owner_url_sealed, ${HEAD} from platform.tenants x`
/** The platform's own realm; its database is the master, which is awake. */
const PLATFORM = sql`select x.id, 'platform' as name, null as owner_url_sealed, ${HEAD}, now()::text as now from platform.realm x`

/**
 * The scheduled sealing of the platform's realm and of the tenants whose visit is due, three at once. One round trip to each, which also puts
 * mails to those whose password expires soon into the outbox, and once a day sweeps; two to the master for each hundred. Tells how many heads moved, and the names of
 * those whose outbox holds what is due.
 */
export async function sealAudits(config: Config): Promise<{ moved: number; due: string[] }> {
  const end = Date.now() + RUN_MS
  const [platform = []] = await batch(config.MASTER_DATABASE_URL, [PLATFORM])
  let found = await sealPage(config, platform as Realm[])
  const total = { moved: movedOf(found), due: dueOf(found) }
  do {
    found = await sealPage(config, await claimVisits<{ head: Head | null }>(config, String(platform[0]?.now), sql`, ${HEAD}`))
    total.moved += movedOf(found)
    total.due.push(...dueOf(found))
  } while (found.length && Date.now() < end)
  return total
}

const movedOf = (found: Found[]) => found.filter(({ head }) => head).length
const dueOf = (found: Found[]) => found.filter(({ is_mail_due }) => is_mail_due).map(({ name }) => name)

/** Seals what is new of one realm and moves its head; `name` is a subdomain, or `platform`. */
export const sealAudit = async (config: Config, name: string) => movedOf(await sealPage(config, [await realmNamed(config, name)]))

/** Checks the audit of one realm, by subdomain or id; `platform` is the platform's own. Fails when there is none. */
export async function verifyAudit(config: Config, name: string): Promise<Verdict> {
  const realm = await realmNamed(config, name)
  return verify(await urlOf(config, realm), realm.head)
}

async function realmNamed(config: Config, name: string): Promise<Realm> {
  const query =
    name === 'platform' ? PLATFORM : sql`${TENANTS} where ${name} in (x.subdomain, x.id::text) and x.owner_url_sealed is not null`
  const [[realm] = []] = await batch(config.MASTER_DATABASE_URL, [query])
  if (!realm) throw new Error(`There is no tenant ${name} with a database.`)
  return realm as Realm
}

async function sealPage(config: Config, realms: Realm[]): Promise<Found[]> {
  const found: Found[] = []
  const queue = [...realms]
  const work = async () => {
    for (let realm = queue.shift(); realm; realm = queue.shift()) {
      try {
        found.push(await sealOne(realm, await urlOf(config, realm)))
      } catch (error) {
        // One tenant's database that is away does not keep the others from being sealed.
        unsealed(realm.name, error instanceof Error ? error.message : String(error))
        found.push({ realm_id: realm.id, name: realm.name, head: null, is_mail_due: false, due_at: null })
      }
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work))
  if (!found.length) return found
  const heads = found.flatMap(({ realm_id, head }) => (head ? [{ realm_id, ...head }] : []))
  await batch(config.MASTER_DATABASE_URL, [
    settled(found),
    sql`insert into platform.audit_heads as h (realm_id, no, hash, entries, sealed_at)
        select * from jsonb_to_recordset(${JSON.stringify(heads)}::jsonb) as x (realm_id uuid, no integer, hash text, entries bigint, sealed_at timestamptz)
        on conflict (realm_id) do update set no = excluded.no, hash = excluded.hash, entries = excluded.entries, sealed_at = excluded.sealed_at, updated_at = now()
        where h.no < excluded.no`,
  ])
  return found
}

/** Seals what is new; nothing, and says so, when the chain does not go on from the head that the master knows. Mail waits for neither. */
async function sealOne({ id, name, head: known }: Realm, url: string): Promise<Found> {
  let is_mail_due = false
  for (let seals = 0; ; seals++) {
    const no = known?.no ?? 0
    const [, , , [done] = [], [found] = [], [next] = []] = await batch(url, [
      sql`set local role freehold_owner`,
      sql`select access.warn_expiring(${MOST_WARNED})`,
      sql`select access.sweep(${MOST_SWEPT})`,
      // A chain that does not go on from what the master knows is left as it is found.
      sql`select access.seal_audit(${BATCH}) as entries where ${no} = 0 or exists (select from freehold.audit_seals k where k.no = ${no} and encode(k.hash, 'hex') = ${known?.hash ?? ''})`,
      sql`select s.no, encode(s.hash, 'hex') as hash, s.sealed_at,
            (select encode(k.hash, 'hex') from freehold.audit_seals k where k.no = ${no}) as known,
            (select sum(e.entries)::integer from freehold.audit_seals e where e.no > ${no}) as entries
          from freehold.audit_seals s order by s.no desc limit 1`,
      sql`select m.at <= now() as is_mail_due,
            case when m.at <= now() or exists (select from freehold.audit_log l where l.seal is null) then null else least(m.at, now() + interval '1 day') end as due_at
          from access.mail_next() as m (at)`,
    ])
    is_mail_due ||= next?.is_mail_due === true
    if (Number(done?.entries) === BATCH && seals < MOST_SEALS) continue
    const visit = { realm_id: id, name, is_mail_due, due_at: next?.due_at ? String(next.due_at) : null }
    if (known && (found?.known ?? null) !== known.hash) {
      unsealed(name, `The audit's chain does not go on from seal ${known.no}: run \`npm run freehold -- audit verify\`.`)
      return { ...visit, head: null }
    }
    if (!found || Number(found.no) <= no) return { ...visit, head: null }
    const { hash, sealed_at, entries } = found
    return {
      ...visit,
      head: {
        no: Number(found.no),
        hash: String(hash),
        sealed_at: String(sealed_at),
        entries: (known?.entries ?? 0) + Number(entries),
      },
    }
  }
}

const unsealed = (tenant: string, error: string) => log('audit not sealed', { tenant, error })

const urlOf = async (config: Config, { id, owner_url_sealed }: Realm) =>
  owner_url_sealed === null ? config.MASTER_DATABASE_URL : decrypt(config.ENCRYPTION_KEYS, id, 'owner_url', owner_url_sealed)
