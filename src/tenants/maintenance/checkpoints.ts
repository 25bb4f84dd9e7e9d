/**
 * Checkpoints: access.checkpoint_audit puts a realm's new audit entries under the next link of its hash chain; the newest link
 * (the head) is kept in the master. Threat: somebody who can write a tenant's database rebuilds its whole chain. So the head in
 * the master moves only if the realm's chain still contains the checkpoint that the master knows, with the same hash.
 */
import { type SQL, sql } from 'drizzle-orm'
import { type Cut, type Head, type Verification, verifyChain } from '../../audit/verify.ts'
import { newTraceId } from '../../http/trace.ts'
import type { Config } from '../../kernel/config.ts'
import { batch, unhurried } from '../../kernel/db.ts'
import { log } from '../../kernel/log.ts'
import { mustBeOpen } from '../fence/fence.ts'
import { openOwnerUrl } from '../provisioning/owner-url.ts'

/** Most entries under one checkpoint, and most checkpoints of one realm in one run. */
const BATCH = 5_000
const MOST_CHECKPOINTS = 20

export type AuditedRealm = { id: string; name: string; owner_url_encrypted: string | null; head: Head | null }

/** A head, and the hash of the one that it continues from. */
export type NextHead = Head & { known: string | null }
export type Checkpointed = { head: NextHead | null; answer: Record<string, unknown> }

export const HEAD = sql`(select jsonb_build_object('no', h.no, 'hash', h.hash, 'entries', h.entries, 'checkpointed_at', h.checkpointed_at) from platform.audit_heads h where h.realm_id = x.id) as head`
const TENANTS = sql`select x.id, x.subdomain as name, x.owner_url_encrypted, x.created_at::text as created_at, ${HEAD} from platform.tenants x`
/** The platform's own realm; its database is the master. */
export const PLATFORM = sql`select x.id, 'platform' as name, null as owner_url_encrypted, x.created_at::text as created_at, ${HEAD}, now()::text as now from platform.realm x`

/**
 * Creates checkpoints for a realm's new entries and moves its head; `name` is a subdomain, or `platform`. Returns how many heads
 * moved (0 or 1).
 */
export async function checkpointAudit(config: Config, name: string, trace_id = newTraceId()): Promise<number> {
  const realm = await realmNamed(config, name)
  const { head } = await checkpoint(realm, await urlOf(config, realm), trace_id)
  if (head) await batch(config.MASTER_DATABASE_URL, [moveHeads([{ realm_id: realm.id, ...head }])])
  return head ? 1 : 0
}

/** Verifies the audit of one realm, by subdomain or id; `platform` is the platform's own. Fails when there is no such realm. */
export async function verifyAudit(config: Config, name: string): Promise<Verification> {
  const realm = await realmNamed(config, name)
  const [cuts = []] = await batch(config.MASTER_DATABASE_URL, [
    sql`select c.from_no, c.to_no, c.hash from platform.audit_cuts c where c.realm_id = ${realm.id}`,
  ])
  return verifyChain(await urlOf(config, realm), realm.head, realm.created_at, cuts as Cut[])
}

async function realmNamed(config: Config, name: string): Promise<AuditedRealm & { created_at: string }> {
  const query =
    name === 'platform'
      ? PLATFORM
      : sql`${TENANTS} where ${name} in (x.subdomain, x.id::text) and x.owner_url_encrypted is not null`
  const [[realm] = []] = await batch(config.MASTER_DATABASE_URL, [query])
  if (!realm) throw new Error(`There is no tenant ${name} with a database.`)
  return realm as AuditedRealm & { created_at: string }
}

/**
 * The statement for the master that moves heads, never backwards, and only from the head that each continues: one of a branch that was
 * left meanwhile (tenants/migration/undo.ts) is of another chain. Rows are locked in one order, or two runs could deadlock.
 */
export const moveHeads = (heads: (NextHead & { realm_id: string })[]): SQL =>
  sql`insert into platform.audit_heads as h (realm_id, no, hash, entries, checkpointed_at)
    select x.realm_id, x.no, x.hash, x.entries, x.checkpointed_at
    from jsonb_to_recordset(${JSON.stringify(heads)}::jsonb) as x (realm_id uuid, no integer, hash text, entries bigint, checkpointed_at timestamptz, known text)
    where x.known is not distinct from (select k.hash from platform.audit_heads k where k.realm_id = x.realm_id) order by x.realm_id
    on conflict (realm_id) do update set no = excluded.no, hash = excluded.hash, entries = excluded.entries, checkpointed_at = excluded.checkpointed_at, updated_at = now()
    where h.no < excluded.no`

/**
 * Creates checkpoints for a realm's new entries. `head` is the new head; null when there is no new entry, or when the chain does
 * not continue from the head that the master knows, which is logged under the trace id of the run. One round trip for each 5,000 entries; the statements of
 * `also` run in the same transaction, and `answer` is the first row of the last one.
 */
export async function checkpoint(
  { name, head: known }: AuditedRealm,
  url: string,
  trace_id: string,
  also: SQL[] = [],
): Promise<Checkpointed> {
  for (let created = 0; ; created++) {
    const no = known?.no ?? 0
    const statements = [
      unhurried,
      sql`set local role freehold_owner`,
      mustBeOpen,
      // A chain that does not continue from the master's head is left as it is, as evidence.
      sql`select access.checkpoint_audit(${BATCH}) as entries where ${no} = 0 or exists (select from freehold.audit_checkpoints k where k.no = ${no} and encode(k.hash, 'hex') = ${known?.hash ?? ''})`,
      sql`select s.no, encode(s.hash, 'hex') as hash, s.created_at as checkpointed_at,
            (select encode(k.hash, 'hex') from freehold.audit_checkpoints k where k.no = ${no}) as known,
            (select sum(e.entries)::integer from freehold.audit_checkpoints e where e.no > ${no}) as entries
          from freehold.audit_checkpoints s order by s.no desc limit 1`,
      ...also,
    ]
    const [, , , [done] = [], [found] = [], ...answers] = await batch(url, statements, trace_id)
    if (Number(done?.entries) === BATCH && created < MOST_CHECKPOINTS) continue
    const answer = answers.at(-1)?.[0] ?? {}
    if (known && (found?.known ?? null) !== known.hash) {
      log('audit checkpoint refused', {
        tenant: name,
        trace_id,
        checkpoint: known.no,
        why: 'the chain does not continue from this checkpoint: see freehold audit verify',
      })
      return { head: null, answer }
    }
    if (!found || Number(found.no) <= no) return { head: null, answer }
    const entries = (known?.entries ?? 0) + Number(found.entries)
    const at = { no: Number(found.no), hash: String(found.hash), checkpointed_at: String(found.checkpointed_at) }
    return { head: { ...at, entries, known: known?.hash ?? null }, answer }
  }
}

/** The connection string of the owner login of a realm's database. */
export const urlOf = async (config: Config, { id, owner_url_encrypted }: AuditedRealm) =>
  owner_url_encrypted === null ? config.MASTER_DATABASE_URL : openOwnerUrl(config, id, owner_url_encrypted)
