/**
 * What differs between a tenant's database and a branch of it of an earlier moment. Both are read in pages by id, so that memory stays
 * bounded; what is answered are counts, and at most twenty names of each.
 */
import { type SQL, sql } from 'drizzle-orm'
import { batch, unhurried } from '../../kernel/db.ts'

const PAGE = 2_000
const MOST_NAMED = 20

export type Named = { count: number; names: string[] }
/** `added`, `given`, `made` would be gone; `removed` would be there again; `deactivated`, `taken`, `revoked` stay so. */
export type Difference = {
  people: { added: Named; changed: Named; removed: Named; deactivated: Named }
  passwords: { changed: Named }
  roles: { added: Named; changed: Named; removed: Named }
  assignments: { given: Named; taken: Named }
  api_keys: { made: Named; revoked: Named }
  settings: { changed: Named }
  sessions: { ended: number }
  one_time_tokens: { ended: number }
  audit: { entries: number }
}

type Row = { id: string; name: string; hash: string; more: string }
/** `after`: the last id of the page before. The rows have id, name, hash and more, in the order of their ids. */
type Query = (after: string) => SQL

const AS_OWNER = sql`set local role freehold_owner`
const FIRST = '00000000-0000-0000-0000-000000000000'

async function* rowsIn(url: string, query: Query): AsyncGenerator<Row, void> {
  for (let after = FIRST; ; ) {
    const [, , page = []] = await batch(url, [unhurried, AS_OWNER, sql`${query(after)} limit ${PAGE}`])
    for (const row of page) yield row as Row
    const last = page.at(-1)
    if (!last || page.length < PAGE) return
    after = String(last.id)
  }
}

/** The fields of a row `t` that count: by name, because one of them may be of a newer schema. */
const hashOf = (...fields: string[]) =>
  sql.raw(`md5(jsonb_build_array(${fields.map((field) => `to_jsonb(t) -> '${field}'`).join(', ')})::text)`)

const PERSON = hashOf(
  ...[
    'username',
    'email',
    'email_verified',
    'role',
    'given_name',
    'family_name',
    'phone',
    'unit_id',
    'manager_id',
    'designation',
  ],
  ...['description', 'is_active', 'locale', 'timezone', 'terminated_at'],
)
const people: Query = (after) => sql`select t.id, t.username as name, ${PERSON} as hash,
    concat_ws(' ', t.is_active, t.password_changed_at) as more from freehold.users t where t.id > ${after}::uuid order by t.id`

const roles: Query = (after) => sql`select t.id, t.name, ${hashOf('name', 'description', 'is_active', 'parent_id', 'max_users')}
      || coalesce((select string_agg(concat(p.permission, p.scope, to_jsonb(p) ->> 'competency_type_id', to_jsonb(p) ->> 'competency_level'), ' ' order by p.permission) from freehold.role_permissions p where p.role_id = t.id and p.ends_at is null), '') as hash, '' as more
    from freehold.roles t where t.deleted_at is null and t.id > ${after}::uuid order by t.id`

/** Those in force at a moment; null: now. */
const assignments =
  (at: string | null): Query =>
  (after) =>
    sql`select t.id, u.username || ': ' || r.name as name, '' as hash, '' as more
      from freehold.user_roles t join freehold.users u on u.id = t.user_id join freehold.roles r on r.id = t.role_id
      where t.id > ${after}::uuid and (t.ends_at is null or t.ends_at > coalesce(${at}::timestamptz, now())) order by t.id`

const keys: Query = (after) =>
  sql`select t.id, t.name || ' (' || t.prefix || ')' as name, '' as hash, '' as more from freehold.api_keys t where t.revoked_at is null and t.id > ${after}::uuid order by t.id`

const noted = (): Named => ({ count: 0, names: [] })
function note(named: Named, name: string) {
  named.count++
  if (named.names.length < MOST_NAMED) named.names.push(name)
}

/** Walks both in the order of their ids: a row of one side alone, or of both. */
async function merge(now: AsyncGenerator<Row, void>, then: AsyncGenerator<Row, void>, see: (now?: Row, then?: Row) => void) {
  let [one, other] = [(await now.next()).value, (await then.next()).value]
  while (one || other) {
    const is_one = one && (!other || one.id <= other.id)
    const is_other = other && (!one || other.id <= one.id)
    see(is_one ? (one as Row) : undefined, is_other ? (other as Row) : undefined)
    if (is_one) one = (await now.next()).value
    if (is_other) other = (await then.next()).value
  }
}

/** Compares a tenant's database with a branch of it of a moment. As many round trips as there are pages. */
export async function differenceOf(now_url: string, then_url: string, at: string): Promise<Difference> {
  const found: Difference = {
    people: { added: noted(), changed: noted(), removed: noted(), deactivated: noted() },
    passwords: { changed: noted() },
    roles: { added: noted(), changed: noted(), removed: noted() },
    assignments: { given: noted(), taken: noted() },
    api_keys: { made: noted(), revoked: noted() },
    settings: { changed: noted() },
    sessions: { ended: 0 },
    one_time_tokens: { ended: 0 },
    audit: { entries: 0 },
  }
  await merge(rowsIn(now_url, people), rowsIn(then_url, people), (now, then) => {
    if (!then) return now && note(found.people.added, now.name)
    if (!now) return note(found.people.removed, then.name)
    if (now.hash !== then.hash) note(found.people.changed, now.name)
    const [is_active, changed_at] = [now.more.slice(0, 1), now.more.slice(2)]
    if (is_active === 'f' && then.more.startsWith('t')) note(found.people.deactivated, now.name)
    if (changed_at !== then.more.slice(2)) note(found.passwords.changed, now.name)
  })
  await merge(rowsIn(now_url, roles), rowsIn(then_url, roles), (now, then) => {
    if (!then) return now && note(found.roles.added, now.name)
    if (!now) return note(found.roles.removed, then.name)
    if (now.hash !== then.hash) note(found.roles.changed, now.name)
  })
  await merge(rowsIn(now_url, assignments(null)), rowsIn(then_url, assignments(at)), (now, then) => {
    if (!then) return now && note(found.assignments.given, now.name)
    if (!now) note(found.assignments.taken, then.name)
  })
  await merge(rowsIn(now_url, keys), rowsIn(then_url, keys), (now, then) => {
    if (!then) return now && note(found.api_keys.made, now.name)
    if (!now) note(found.api_keys.revoked, then.name)
  })
  const settings = sql`select to_jsonb(t) - '{one,id,subdomain,is_active,v,writes_closed_by,updated_at}'::text[] as settings from freehold.tenant t`
  const [, , [row] = [], [left] = []] = await batch(now_url, [
    unhurried,
    AS_OWNER,
    settings,
    sql`select (select count(*)::integer from freehold.sessions s where s.ended_at is null and s.expires_at > now()) as sessions,
          (select count(*)::integer from freehold.one_time_tokens k where k.used_at is null and k.expires_at > now()) as tokens,
          (select count(*)::integer from freehold.audit_log l where l.at > ${at}::timestamptz) as entries`,
  ])
  const [, [then] = []] = await batch(then_url, [AS_OWNER, settings])
  const [here, there] = [row?.settings, then?.settings] as Record<string, unknown>[]
  for (const [name, value] of Object.entries(here ?? {}).sort())
    if (there && name in there && JSON.stringify(there[name]) !== JSON.stringify(value)) note(found.settings.changed, name)
  found.sessions.ended = Number(left?.sessions)
  found.one_time_tokens.ended = Number(left?.tokens)
  found.audit.entries = Number(left?.entries)
  return found
}
