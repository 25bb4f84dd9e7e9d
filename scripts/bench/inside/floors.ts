import type { Client } from 'pg'

/**
 * Functions that do only a part of what a request needs: the least that it can cost. They take what the admission takes, and the
 * app login may call them in the database of the measure.
 */

const made = (name: string, body: string) =>
  `create function bench.${name}(tenant uuid, credential jsonb, permission text, request jsonb) returns jsonb
   language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$ ${body} $$`

const FLOORS = [
  'create schema bench authorization freehold_owner',
  'grant usage on schema bench to freehold_app',
  'set role freehold_owner',
  made('nothing', `begin return '{}'; end`),
  // What an admission cannot do without: the tenant, its key, the session and its user, by their keys.
  made(
    'reads',
    `declare r record; begin
      select u.id, t.idle_days, k.inner_key, s.ended_at into r
      from freehold.tenant t cross join access.secrets k
        join freehold.sessions s on s.id = (credential ->> 'session_id')::uuid
        join freehold.users u on u.id = s.user_id;
      return jsonb_build_object('user_id', r.id); end`,
  ),
  // What a refresh cannot do without: a token is used, its successor is kept, the session was active.
  made(
    'writes',
    `declare used bytea; begin
      update freehold.refresh_tokens l set used_at = now(), successor_hash = sha256(l.token_hash)
      where l.session_id = (credential ->> 'session_id')::uuid and l.used_at is null
      returning l.token_hash into used;
      -- Another connection that asks for the same session may have been first.
      if used is not null then
        insert into freehold.refresh_tokens (token_hash, session_id, expires_at)
        values (sha256(used), (credential ->> 'session_id')::uuid, now() + interval '1 day');
      end if;
      update freehold.sessions s set last_active_at = now() where s.id = (credential ->> 'session_id')::uuid;
      return '{}'; end`,
  ),
  // What a login cannot do without: an attempt begins and ends, a session opens with its audit entry and its first token.
  made(
    'enters',
    `declare u uuid := (credential ->> 'user_id')::uuid; a uuid := gen_random_uuid(); s uuid := gen_random_uuid(); begin
      perform from freehold.lockouts g where g.key = 'login:' || u for update;
      insert into freehold.login_attempts (id, key, user_id, identifier, hash_parameters, state) values (a, 'login:' || u, u, 'bench', 'bench', 'pending');
      update freehold.login_attempts x set state = 'succeeded' where x.id = a;
      insert into freehold.sessions (id, user_id, expires_at) values (s, u, now() + interval '1 day');
      insert into freehold.refresh_tokens (token_hash, session_id, expires_at) values (uuid_send(s), s, now() + interval '1 day');
      return '{}'; end`,
  ),
  'grant execute on all functions in schema bench to freehold_app',
  'reset role',
]

/** Makes the functions. */
export async function plantFloors(superuser: Client): Promise<void> {
  for (const statement of FLOORS) await superuser.query(statement)
}

/** What they are called with, as text. */
export const floorParams = ({ session_id, user_id }: { session_id: string; user_id: string }) => [
  crypto.randomUUID(),
  JSON.stringify({ session_id, user_id, proof: '0'.repeat(64) }),
  null,
  JSON.stringify({ address: null, agent: 'bench/1', method: 'GET', path: '/api/v1/auth/me', trace_id: '0'.repeat(32) }),
]
