import { sql } from 'drizzle-orm'
import type { Database } from '../support/databases.ts'

/** Leaves something in every table that the app login may read: that it sees nothing there says something only then. */
export const leaveRows = ({ asOwner }: Database) =>
  asOwner(
    sql`insert into freehold.units (id, kind, name) values (gen_random_uuid(), 'team', 'left')`,
    sql`insert into freehold.users (id, username, email, role, unit_id)
        select gen_random_uuid(), 'left', 'left@people.test', 'user', u.id from freehold.units u where u.name = 'left'`,
    sql`insert into freehold.invitations (id, email, inviter_id, token_hash, expires_at)
        select gen_random_uuid(), 'left@invited.test', u.id, sha256('left'), now() + interval '1 day' from freehold.users u where u.username = 'left'`,
    sql`insert into freehold.employees (id, user_id, document_type, document_number, given_names, family_name)
        select gen_random_uuid(), u.id, 'dni', 'left', 'left', 'left' from freehold.users u where u.username = 'left'`,
    sql`insert into freehold.competency_types (id, name, kind) values (gen_random_uuid(), 'left', 'training')`,
    sql`insert into freehold.competencies (id, user_id, type_id, level, issued_at)
        select gen_random_uuid(), u.id, t.id, 1, now() from freehold.users u, freehold.competency_types t where u.username = 'left'`,
    sql`insert into freehold.overrides (id, user_id, permission, effect, scope)
        select gen_random_uuid(), u.id, 'user:read', 'grant', 'own' from freehold.users u where u.username = 'left'`,
    sql`insert into freehold.delegations (id, delegator_id, delegate_id, starts_at, ends_at)
        select gen_random_uuid(), a.id, b.id, now(), now() + interval '1 day' from freehold.users a, freehold.users b where a.username = 'bo' and b.username = 'left'`,
    sql`insert into freehold.delegation_permissions (delegation_id, permission) select d.id, 'user:read' from freehold.delegations d`,
    sql`insert into freehold.api_keys (id, user_id, name, prefix, key_hash, permissions)
        select gen_random_uuid(), u.id, 'left', 'leftleft', '\\x01', '{user:read}' from freehold.users u where u.username = 'left'`,
    sql`insert into freehold.passkeys (id, user_id, credential_id, public_key, counter, rp_id, name, aaguid, is_synced)
        select gen_random_uuid(), u.id, '\\x01', '\\x02', 0, 'left.test', 'left', gen_random_uuid(), false from freehold.users u where u.username = 'left'`,
    sql`insert into freehold.providers (id, name, type, issuer, client_id, label) values (gen_random_uuid(), 'left', 'oidc', 'https://left.test', 'left', 'left')`,
    sql`insert into freehold.external_identities (id, user_id, provider_id, provider, issuer, external_id)
        select gen_random_uuid(), u.id, p.id, 'left', 'left', 'left' from freehold.users u, freehold.providers p where u.username = 'left'`,
    sql`insert into freehold.webhooks (id, url, secret_encrypted, is_paused) values (gen_random_uuid(), 'https://left.test', 'left', true)`,
    sql`insert into freehold.hooks (id, act, url, on_failure, secret_encrypted, is_paused) values (gen_random_uuid(), 'login', 'https://left.test', 'open', 'left', true)`,
    sql`insert into freehold.webhook_deliveries (id, webhook_id, type, attempt, is_delivered, duration_ms) select gen_random_uuid(), w.id, 'left', 1, true, 1 from freehold.webhooks w`,
    sql`insert into freehold.organizations (id, name) values (gen_random_uuid(), 'left')`,
    sql`insert into freehold.audiences (id, identifier, name) values (gen_random_uuid(), 'https://left.test', 'left')`,
    sql`insert into freehold.logo (content_type, width, height, etag, content) values ('image/png', 1, 1, 'left', '\\x01')`,
    sql`insert into freehold.audit_checkpoints (no, entries, hash, oldest_xid, next_xid) values (1, 0, '\\x01', 1, 1)`,
  )

/** How many rows each table has that the app login may read, or some columns of it. */
export async function readable({ asOwner }: Database): Promise<Record<string, number>> {
  const tables = await asOwner(
    sql`select c.relname as name from pg_class c where c.relnamespace = 'freehold'::regnamespace and c.relkind = 'r' and has_any_column_privilege('freehold_app', c.oid, 'select') order by 1`,
  )
  const counts = tables.map(({ name }) => sql.raw(`'${name}', (select count(*)::integer from freehold.${name})`))
  const [row] = await asOwner(sql`select jsonb_build_object(${sql.join(counts, sql`, `)}) as counts`)
  return row?.counts
}
