/**
 * Closing a tenant's database while it is exchanged for another one: by an undo of a migration, or by a move. Threat: a request is
 * answered that something is stored, in a database that nobody reads any more. So the database first says that it is another tenant's:
 * every admission and every public endpoint compares that (access.check_tenant), and the Worker looks the tenant up afresh, asks again
 * where the registry names another database, and else answers 503 with Retry-After. Then whoever passed before is waited for; only
 * then is anything counted or exchanged. A move closes the database to writes alone while it copies, and to everybody at the end.
 */
import { type SQL, sql } from 'drizzle-orm'
import { batch, unhurried } from '../../kernel/db.ts'

/** Ids of nobody, in the order of a tenant's attempts: what a slower attempt opens was not closed by a later one. */
const FENCE = 'ffffffff-ffff-4fff-8fff-'
export const fenceOf = (attempt: number) => `${FENCE}${attempt.toString(16).padStart(12, '0')}`

/** True of a row `t` of freehold.tenant that a fence closes. */
export const IS_CLOSED = sql.raw(`t.id >= '${FENCE}000000000000'`)

/** True of a row `t` of freehold.tenant that is closed to writes. As JSON: the release before has no such column. */
export const IS_CLOSED_TO_WRITES = `to_jsonb(t) ->> 'writes_closed_by' is not null`

/**
 * The statement with which the system's own work in a tenant's database begins, as freehold_owner: it passes no admission that would
 * refuse a closed database. Fails with wrong_tenant.
 */
export const mustBeOpen = sql.raw(`do $$ begin
  if exists (select from freehold.tenant t where t.id >= '${FENCE}000000000000' or ${IS_CLOSED_TO_WRITES}) then
    raise exception using errcode = 'FH503', message = 'wrong_tenant';
  end if; end $$`)

const AS_OWNER = sql`set local role freehold_owner`

/** How long transactions that began before are waited for: those of requests end after 20 s. In steps of a request's time. */
const WAITS = 3

/** Closes a tenant's database, and returns when no transaction runs that began before. Repeatable. Fails when one does not end. */
export const close = (owner_url: string, tenant_id: string, attempt: number, trace_id: string): Promise<void> =>
  shut(
    owner_url,
    sql`update freehold.tenant t set id = ${fenceOf(attempt)}
        where (t.id = ${tenant_id} or t.id >= ${fenceOf(0)} and t.id < ${fenceOf(attempt)}) and ${isOfAttempt(attempt)}`,
    trace_id,
  )

/** Closes it to whoever may write; otherwise as `close`. One that an earlier attempt closed to everybody stays so. */
export const closeWrites = (owner_url: string, tenant_id: string, attempt: number, trace_id: string): Promise<void> =>
  shut(
    owner_url,
    sql`update freehold.tenant t set writes_closed_by = ${attempt}
        where (t.id = ${tenant_id} or t.id >= ${fenceOf(0)} and t.id <= ${fenceOf(attempt)}) and ${isOfAttempt(attempt)}`,
    trace_id,
  )

/** True of a row `t` of freehold.tenant that no later attempt has closed to writes. */
const isOfAttempt = (attempt: number) => sql`coalesce((to_jsonb(t) ->> 'writes_closed_by')::integer, 0) <= ${attempt}`

async function shut(owner_url: string, closing: SQL, trace_id: string): Promise<void> {
  await batch(owner_url, [AS_OWNER, closing], trace_id)
  // Whoever read the row before that was committed had a transaction then. Autovacuum, which has no user, writes nothing.
  const [rows = []] = await batch(owner_url, [
    sql`select l.virtualxid from pg_locks l join pg_stat_activity a on a.pid = l.pid
        where l.locktype = 'virtualxid' and l.granted and l.virtualxid = l.virtualtransaction and a.datname = current_database() and a.usesysid is not null and a.pid <> pg_backend_pid()`,
  ])
  const before = JSON.stringify(rows.map(({ virtualxid }) => virtualxid))
  for (let tries = 0; tries < WAITS; tries++) if (await haveEnded(owner_url, before)) return
  throw new Error('A transaction that began before the tenant was closed does not end.')
}

/** Waits for transactions, up to ten seconds, in the database. */
async function haveEnded(owner_url: string, before: string): Promise<boolean> {
  const left = sql`exists (select from pg_locks l where l.locktype = 'virtualxid' and l.virtualxid in (select jsonb_array_elements_text(current_setting('freehold.before')::jsonb)))`
  const [, , , [row] = []] = await batch(owner_url, [
    unhurried,
    sql`select set_config('freehold.before', ${before}, true)`,
    sql`do $$ begin
          for i in 1..200 loop
            exit when not ${left};
            perform pg_sleep(0.05);
          end loop;
        end $$`,
    sql`select ${left} as is_left`,
  ])
  return row?.is_left === false
}

/** True while this attempt keeps the database closed, to everybody or to writes. */
export async function isClosed(owner_url: string, attempt: number): Promise<boolean> {
  const [, [row] = []] = await batch(owner_url, [
    AS_OWNER,
    sql`select t.id = ${fenceOf(attempt)} or (to_jsonb(t) ->> 'writes_closed_by')::integer = ${attempt} as is_closed from freehold.tenant t`,
  ])
  return row?.is_closed === true
}

/**
 * The latest attempt that keeps a database closed, to everybody or to writes; null: it is open. `open_it` is what opens it in its schema:
 * an earlier one is closed to everybody alone.
 */
export async function attemptOf(owner_url: string): Promise<{ attempt: number; open_it: typeof open } | null> {
  const [, [row] = []] = await batch(owner_url, [
    AS_OWNER,
    sql`select t.id::text as id, (to_jsonb(t) ->> 'writes_closed_by')::integer as writes_closed_by, to_jsonb(t) ? 'writes_closed_by' as is_newest from freehold.tenant t`,
  ])
  const id = String(row?.id ?? '')
  const of_all = id.startsWith(FENCE) ? Number.parseInt(id.slice(FENCE.length), 16) : null
  const of_writes = (row?.writes_closed_by ?? null) as number | null
  if (of_all === null && of_writes === null) return null
  return { attempt: Math.max(of_all ?? 0, of_writes ?? 0), open_it: row?.is_newest ? openWrites : open }
}

/** Opens a database that this attempt closed, or one before. Repeatable; one that a later attempt closed stays closed. */
export async function open(owner_url: string, tenant_id: string, attempt: number, trace_id: string): Promise<void> {
  const opening = sql`update freehold.tenant t set id = ${tenant_id}
    where t.id >= ${fenceOf(0)} and t.id <= ${fenceOf(attempt)} and ${isOfAttempt(attempt)}`
  await batch(owner_url, [AS_OWNER, opening], trace_id)
}

/** Opens it to writes as well; otherwise as `open`. Of the newest schema only. */
export async function openWrites(owner_url: string, tenant_id: string, attempt: number, trace_id: string): Promise<void> {
  const opening = sql`update freehold.tenant t set id = ${tenant_id}, writes_closed_by = null
    where (t.id = ${tenant_id} or t.id >= ${fenceOf(0)} and t.id <= ${fenceOf(attempt)}) and ${isOfAttempt(attempt)}`
  await batch(owner_url, [AS_OWNER, opening], trace_id)
}
