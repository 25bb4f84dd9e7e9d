import { type SQL, sql } from 'drizzle-orm'
import type { Preset, PresetSettings } from '../../presets/preset.ts'
import type { tenant } from '../../settings/table.ts'

/** Does not compile for a setting of a preset that is no column. */
type Row = Pick<typeof tenant.$inferInsert, 'id' | 'subdomain' | keyof PresetSettings>

/**
 * The statements that give a new database its keys, identity, settings, permissions and roles. Run by the owner login; repeatable: existing
 * rows stay. They fail on a database that belongs to another tenant.
 */
export function seed(party: { id: string; subdomain: string }, preset: Preset): SQL[] {
  // A step that is tried again finds the row, and leaves what was changed since.
  const first: Row = { id: party.id, subdomain: party.subdomain, ...preset.settings }
  const row = Object.entries(first)
  const columns = sql.join(
    row.map(([column]) => sql.identifier(column)),
    sql`, `,
  )
  const values = sql.join(
    row.map(([, value]) => sql`${value}`),
    sql`, `,
  )
  return [
    sql`set local role freehold_owner`,
    sql`call access.make_secrets()`,
    sql`insert into freehold.tenant (${columns}) values (${values}) on conflict do nothing`,
    sql`select 1 / (select count(*) from freehold.tenant where id = ${party.id})::integer as is_ours`,
    ...rolesOf(preset),
  ]
}

/**
 * The statements that give a database what it never had of a preset: permissions, roles, and what its system roles carry. What a
 * tenant deleted or ended is a row still, and stays as it is; so do roles of its own, which no role of the system inherits. Run by the owner login; repeatable.
 */
export const rolesOf = (preset: Preset): SQL[] => [
  sql`insert into freehold.permissions (id, name, is_system)
      select gen_random_uuid(), name, true from jsonb_array_elements_text(${JSON.stringify(preset.permissions)}::jsonb) as p (name) on conflict do nothing`,
  ...preset.roles.flatMap((role) => [
    sql`insert into freehold.roles (id, name, description, is_system, parent_id, is_admin, is_fallback, is_manageable, max_users)
        select gen_random_uuid(), ${role.name}, ${role.description}, true, (select id from freehold.roles where name = ${role.parent ?? null} and is_system and deleted_at is null),
          ${role.name === preset.administrator}, ${role.name === preset.fallback}, ${role.is_manageable ?? false}, ${role.max_users ?? null}
        where not exists (select from freehold.roles where name = ${role.name}) on conflict do nothing`,
    sql`insert into freehold.role_permissions (id, role_id, permission, scope)
        select gen_random_uuid(), r.id, g ->> 0, g ->> 1
        from freehold.roles r
          cross join jsonb_array_elements(${JSON.stringify(role.grants)}::jsonb) as g
          join freehold.permissions p on p.name = g ->> 0 and p.deleted_at is null
        where r.name = ${role.name} and r.is_system and r.deleted_at is null
          and not exists (select from freehold.role_permissions x where x.role_id = r.id and x.permission = g ->> 0) on conflict do nothing`,
  ]),
]

/**
 * The statements that make a database another registry's tenant no more: new keys for claims, none of the system until its own is stored,
 * and no session. People, passwords, roles and the audit stay. Run by the owner login; repeatable.
 */
export const takeOver = (party: { id: string; subdomain: string }): SQL[] => [
  sql`update freehold.tenant set subdomain = ${party.subdomain}, is_active = true, v = 0, updated_at = now() where id = ${party.id}`,
  sql`update access.secrets s set inner_key = k.inner_key, outer_key = k.outer_key, former_inner_key = null, former_outer_key = null, rotated_at = null,
        system_hash = null, former_system_hash = null, former_system_until = null from access.new_key() k`,
  sql`update freehold.sessions s set ended_at = now(), ended_because = 'revoked' where s.ended_at is null`,
]

export type FirstAdmin = { email: string; username: string; password_hash: string; must_change_password: boolean }

/**
 * The statements that create the first administrator; repeatable. `username` is the wished one. A trigger assigns the role. A
 * password that must be changed is a first password, which works for a limited time.
 */
export function firstAdministrator(admin: FirstAdmin, preset: Preset): SQL[] {
  return [
    sql`set local role freehold_owner`,
    sql`insert into freehold.users (id, username, email, must_change_password, role)
        values (gen_random_uuid(), access.free_username(${admin.username}, ${admin.email}), ${admin.email}, ${admin.must_change_password}, ${preset.administrator}) on conflict (email) do nothing`,
    sql`insert into freehold.passwords (id, user_id, password_hash, is_first)
        select gen_random_uuid(), u.id, ${admin.password_hash}, ${admin.must_change_password} from freehold.users u where u.email = ${admin.email}
          and not exists (select from freehold.passwords p where p.user_id = u.id) on conflict do nothing`,
  ]
}

/** The statements that store the hash of the system key, by which a database recognises the system; not while it is rotated. */
export const systemKey = (system_key: string): SQL[] => [
  sql`set local role freehold_owner`,
  sql`update access.secrets s set system_hash = k.hash from sha256(convert_to(${system_key}, 'UTF8')) k (hash)
      where not coalesce(k.hash = s.system_hash or k.hash = s.former_system_hash, false)`,
]
