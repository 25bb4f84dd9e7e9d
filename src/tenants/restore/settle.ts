/**
 * What a branch of an earlier moment must lose before it is the tenant's. Threat: going back gives somebody what was taken from them
 * meanwhile: a session that ended, a link that was mailed, a key or an invitation that was revoked, a job that they left. So sessions and one-time
 * tokens end, also of logins that wait for a code, and what was ended since stays so; mail that waited then is not sent again; keys are new ones. And the audit would
 * number two checkpoints alike: so a cut, which covers no entry, goes on behind the last number of the branch that is left. And a
 * limit would forget what was counted: so that goes along.
 */
import { type SQL, sql } from 'drizzle-orm'
import { batch, unhurried } from '../../kernel/db.ts'
import { documentsIn, keepDocuments } from './documents.ts'

const AS_OWNER = sql`set local role freehold_owner`

/** What was ended in a database since a moment, and is not in force again. */
export type Ended = Record<'keys' | 'people' | 'assignments' | 'grants' | 'delegations' | 'passwords' | 'invitations', string[]>
/** The newest checkpoint of a database. */
type Newest = { no: number; hash: string | null }

/** In PL/pgSQL, because the schema of an earlier release has no such table. */
const REVOKED_INVITATIONS = sql.raw(`do $$ begin
  if to_regclass('freehold.invitations') is not null then
    perform set_config('freehold.invitations', coalesce((select jsonb_agg(i.id) from freehold.invitations i
      where i.revoked_at > current_setting('freehold.since')::timestamptz), '[]')::text, true);
  end if; end $$`)

/** What was ended since in the database that is left, its newest checkpoint, and how many documents it counted. One round trip. */
export async function endedIn(url: string, at: string): Promise<{ ended: Ended; newest: Newest; documents: unknown }> {
  // An hour earlier: clocks differ, and what was ended before is ended there, too.
  const since = sql`${at}::timestamptz - interval '1 hour'`
  const ids = (from: SQL) => sql`coalesce((select jsonb_agg(x.id) from (${from}) x), '[]')`
  const [, , , , , [counted] = [], [row] = []] = await batch(url, [
    unhurried,
    AS_OWNER,
    sql`select set_config('freehold.since', (${since})::text, true)`,
    REVOKED_INVITATIONS,
    ...documentsIn,
    sql`select jsonb_build_object(
          'keys', ${ids(sql`select k.id from freehold.api_keys k where k.revoked_at > ${since}`)},
          'people', ${ids(sql`select u.id from freehold.users u where not u.is_active and u.updated_at > ${since}`)},
          'assignments', ${ids(sql`select a.id from freehold.user_roles a where a.ends_at > ${since} and a.ends_at <= now()
            and not exists (select from freehold.user_roles o where (o.user_id, o.role_id) = (a.user_id, a.role_id) and (o.ends_at is null or o.ends_at > now()))`)},
          'grants', ${ids(sql`select o.id from freehold.overrides o where o.effect = 'grant' and o.ends_at > ${since} and o.ends_at <= now()
            and not exists (select from freehold.overrides n where (n.user_id, n.permission, n.effect) = (o.user_id, o.permission, o.effect) and (n.ends_at is null or n.ends_at > now()))`)},
          'delegations', ${ids(sql`select d.id from freehold.delegations d where d.revoked_at > ${since}`)},
          'passwords', ${ids(sql`select u.id from freehold.users u where u.password_changed_at > ${at}::timestamptz and u.created_at <= ${at}::timestamptz`)},
          'invitations', coalesce(nullif(current_setting('freehold.invitations', true), '')::jsonb, '[]')
        ) as ended,
        (select jsonb_build_object('no', s.no, 'hash', encode(s.hash, 'hex')) from freehold.audit_checkpoints s order by s.no desc limit 1) as newest`,
  ])
  const newest = (row?.newest ?? { no: 0, hash: null }) as Newest
  return { ended: row?.ended as Ended, newest, documents: counted?.documents ?? null }
}

const GIVEN = `current_setting('freehold.given')::jsonb`
const given = (kind: keyof Ended) => `select value::uuid from jsonb_array_elements_text(${GIVEN} -> '${kind}')`

/** Ends again what was ended. The only administrator stays one: nobody could let anybody in again. */
const END_AGAIN = sql.raw(`do $$ declare subject uuid; begin
  update freehold.api_keys k set revoked_at = now() where k.id in (${given('keys')}) and k.revoked_at is null;
  update freehold.overrides o set ends_at = greatest(now(), o.starts_at) where o.id in (${given('grants')}) and (o.ends_at is null or o.ends_at > now());
  update freehold.delegations d set revoked_at = now() where d.id in (${given('delegations')}) and d.revoked_at is null;
  for subject in ${given('people')} loop
    begin
      update freehold.users u set is_active = false where u.id = subject and u.is_active;
    exception when sqlstate 'FH409' then null;
    end;
  end loop;
  for subject in ${given('assignments')} loop
    begin
      update freehold.user_roles a set ends_at = greatest(now(), a.starts_at) where a.id = subject and (a.ends_at is null or a.ends_at > now());
    exception when sqlstate 'FH409' then null;
    end;
  end loop; end $$`)

/** Ends what waits for a code or a mail, and invitations that were revoked. A branch of an older schema does not have all of these tables. */
const END_WAITING = sql.raw(`do $$ begin
  if to_regclass('freehold.login_challenges') is not null then
    update freehold.login_challenges c set used_at = now() where c.used_at is null;
  end if;
  if to_regclass('freehold.email_logins') is not null then
    update freehold.email_logins e set used_at = now() where e.used_at is null;
  end if;
  if to_regclass('freehold.notifications') is not null then
    update freehold.notifications n set mail = null where n.mail is not null;
  end if;
  if to_regclass('freehold.invitations') is not null then
    update freehold.invitations i set revoked_at = now(), closed_at = now(), updated_at = now() where i.id in (${given('invitations')}) and i.closed_at is null;
  end if; end $$`)

/** A cut, as the master keeps it (table.ts). */
type Cut = { to_no: number; from_no: number; left_no: number; left_hash: string | null; hash: string }
/** `cuts`: that of this attempt, and those of attempts before it that did not come to the exchange. */
export type Settled = { cuts: Cut[]; head: { no: number; hash: string; entries: number; checkpointed_at: string } }

/**
 * Does all that, in one transaction, and cuts the audit behind checkpoint `left.no`. Repeatable: a cut that is there stays, and nothing is
 * recorded twice. `system_hash` is that of the key that the registry has now.
 */
export async function settle(
  url: string,
  about: {
    restore_id: string
    at: string
    ended: Ended
    left: Newest
    documents: unknown
    system_hash: string
    is_return: boolean
  },
  trace_id: string,
): Promise<Settled> {
  const { restore_id, at, ended, left, documents, system_hash, is_return } = about
  const to = left.no + 1
  const is_new = sql`not exists (select from freehold.audit_checkpoints k where k.no >= ${to}::integer)`
  const told = JSON.stringify({ restore_id, at, is_return, left_checkpoint: left.no, left_hash: left.hash })
  const statements = [
    unhurried,
    AS_OWNER,
    sql`select set_config('freehold.given', ${JSON.stringify(ended)}, true)`,
    sql`update freehold.sessions s set ended_at = now(), ended_because = 'restored' where s.ended_at is null`,
    sql`update freehold.one_time_tokens k set used_at = now() where k.used_at is null`,
    sql`update freehold.registrations r set used_at = now() where r.used_at is null`,
    sql`update freehold.mails m set state = 'dead', finished_at = now(), secrets_encrypted = null where m.state = 'queued'`,
    END_WAITING,
    sql`delete from access.kept_answers`,
    END_AGAIN,
    ...keepDocuments(documents),
    sql`update freehold.users u set must_change_password = true
        where u.id in (select value::uuid from jsonb_array_elements_text(${JSON.stringify(ended.passwords)}::jsonb)) and not u.must_change_password`,
    // Keys that leaked since then, or were replaced, count for nothing; what was signed with them ended above.
    sql`update access.secrets s set lasting_inner_key = coalesce(s.lasting_inner_key, s.inner_key), lasting_outer_key = coalesce(s.lasting_outer_key, s.outer_key),
          inner_key = n.inner_key, outer_key = n.outer_key, former_inner_key = null, former_outer_key = null, rotated_at = clock_timestamp(),
          system_hash = ${system_hash}::bytea, former_system_hash = null, former_system_until = null
        from access.new_key() n where ${is_new}`,
    sql`select access.record('TENANT_RESTORED', 'restore', 'tenant', (select t.id::text from freehold.tenant t), null, ${told}::jsonb) where ${is_new}`,
    // Entries of the moment that no checkpoint covers have older transactions: they belong behind the cut.
    sql`with n as (select k.no, k.hash, k.oldest_xid from freehold.audit_checkpoints k order by k.no desc limit 1),
        cut as (select jsonb_populate_record(null::freehold.audit_checkpoints, jsonb_build_object('no', ${to}::integer, 'entries', 0, 'oldest_xid', (select n.oldest_xid from n),
          'next_xid', pg_snapshot_xmax(pg_current_snapshot())::text::bigint, 'created_at', clock_timestamp())) as c)
        insert into freehold.audit_checkpoints (no, entries, oldest_xid, next_xid, hash, created_at)
        select (c).no, 0, (c).oldest_xid, (c).next_xid, sha256(coalesce((select n.hash from n), '') || access.canonical_checkpoint(c)), (c).created_at from cut where ${is_new}`,
    // Each has an entry of its own transaction that says behind which checkpoint it goes on.
    sql`select (select jsonb_agg(jsonb_build_object('to_no', k.no, 'from_no', coalesce((select max(p.no) from freehold.audit_checkpoints p where p.no < k.no), 0),
            'left_no', k.no - 1, 'left_hash', d.after ->> 'left_hash', 'hash', encode(k.hash, 'hex')) order by k.no)
          from freehold.audit_checkpoints k join freehold.audit_log l on l.activity_type = 'TENANT_RESTORED' and l.at between k.created_at - interval '10 minutes' and k.created_at
            join freehold.audit_detail d on d.log_id = l.id and d.after ->> 'restore_id' = ${restore_id} and (d.after ->> 'left_checkpoint')::integer = k.no - 1
          where k.entries = 0) as cuts, s.no, encode(s.hash, 'hex') as hash, s.created_at::text as checkpointed_at,
          (select sum(e.entries)::integer from freehold.audit_checkpoints e) as entries from freehold.audit_checkpoints s where s.no = ${to}::integer`,
  ]
  const row = (await batch(url, statements, trace_id)).at(-1)?.[0]
  if (!row) throw new Error('The branch has a newer checkpoint of the audit than the tenant.')
  const { no, hash, entries, checkpointed_at } = row as Record<string, string>
  return {
    cuts: (row.cuts ?? []) as Cut[],
    head: { no: Number(no), hash: String(hash), entries: Number(entries), checkpointed_at: String(checkpointed_at) },
  }
}
