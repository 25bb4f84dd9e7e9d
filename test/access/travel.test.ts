/**
 * Threat: an answer about the past, or about now after many changes, that is not what the changes say. A plain model is told the same random
 * changes as the database, and both are asked about random moments.
 */
import { type SQL, sql } from 'drizzle-orm'
import { beforeAll, expect, it } from 'vitest'
import { type Database, databaseOf } from '../support/databases.ts'
import { copyTenant } from '../support/tenants.ts'

const WIDTH = ['own', 'team', 'department', 'all']
const PEOPLE = 8
const ROLES = 7
const PERMISSIONS = ['memo:read', 'memo:write', 'memo:burn', 'memo:sign']
const CHANGES = 400
const QUESTIONS = 4_000
/** Questions of one statement. */
const AT_ONCE = 500
/** The same sequence each time; a number in the title of a failure would not help without it. */
let seed = 20_261_122
const random = (below: number) => {
  seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0
  return Math.floor((seed / 2 ** 32) * below)
}
const one = <T>(list: readonly T[]): T => list[random(list.length)] as T

/** A moment as microseconds, as the database keeps it. */
type Range = { from: bigint; to: bigint | null }
const holds = ({ from, to }: Range, at: bigint) => from <= at && (to === null || at < to)

/** What was said, in order; nothing is computed before it is asked. */
const model = {
  active: [] as (Range & { person: string })[],
  assigned: [] as (Range & { person: string; role: string })[],
  lines: [] as (Range & { role: string; parent: string | null })[],
  carried: [] as (Range & { role: string; permission: string; scope: string })[],
  overrides: [] as (Range & { id: string; person: string; permission: string; effect: string; scope: string })[],
  delegated: [] as (Range & { id: string; from_whom: string; to_whom: string; role: string | null; permissions: string[] })[],
}

const closure = (roles: string[], at: bigint): Set<string> => {
  const seen = new Set<string>()
  const visit = (role: string | null) => {
    const line = model.lines.find((l) => l.role === role && holds(l, at))
    if (!line || seen.has(line.role)) return
    seen.add(line.role)
    visit(line.parent)
  }
  for (const role of roles) visit(role)
  return seen
}
const widest = (scopes: string[]) => WIDTH[Math.max(-1, ...scopes.map((s) => WIDTH.indexOf(s)))] ?? null
const carriedBy = (roles: Set<string>, permission: string, at: bigint) =>
  model.carried.filter((c) => roles.has(c.role) && c.permission === permission && holds(c, at)).map((c) => c.scope)
const overridden = (person: string, permission: string, effect: string, at: bigint) =>
  model.overrides.filter((o) => o.person === person && o.permission === permission && o.effect === effect && holds(o, at))
const rolesOf = (person: string, at: bigint) =>
  closure(
    model.assigned.filter((a) => a.person === person && holds(a, at)).map((a) => a.role),
    at,
  )

function own(person: string, permission: string, at: bigint): string | null {
  if (overridden(person, permission, 'deny', at).length) return null
  const granted = overridden(person, permission, 'grant', at).map((o) => o.scope)
  return widest([...carriedBy(rolesOf(person, at), permission, at), ...granted])
}

function expected(person: string, permission: string, at: bigint): string | null {
  if (overridden(person, permission, 'deny', at).length) return null
  const isActive = (who: string) => model.active.some((a) => a.person === who && holds(a, at))
  if (!isActive(person)) return null
  const scopes = [own(person, permission, at)]
  for (const d of model.delegated.filter((x) => x.to_whom === person && holds(x, at) && isActive(x.from_whom))) {
    const theirs = own(d.from_whom, permission, at)
    let cap: string | null = d.permissions.includes(permission) ? 'all' : null
    if (d.role && rolesOf(d.from_whom, at).has(d.role)) cap = widest(carriedBy(closure([d.role], at), permission, at))
    if (theirs && cap) scopes.push(WIDTH[Math.min(WIDTH.indexOf(theirs), WIDTH.indexOf(cap))] ?? null)
  }
  return widest(scopes.filter((s) => s !== null))
}

let tenant: Database
const people = Array.from({ length: PEOPLE }, () => crypto.randomUUID())
const roles = Array.from({ length: ROLES }, () => crypto.randomUUID())
const moments: bigint[] = []

/** Does something in the database, as one transaction, and gives its moment. Refused (a circle, a second open grant): null. */
async function change(...statements: SQL[]): Promise<bigint | null> {
  try {
    const [row] = await tenant.asOwner(...statements, sql`select (extract(epoch from now()) * 1000000)::bigint::text as at`)
    const at = BigInt(row?.at)
    moments.push(at, at - 1n)
    return at
  } catch (error) {
    if (/^(FH|23)/.test((error as { code?: string }).code ?? '')) return null
    throw error
  }
}
const close = (range: Range | undefined, at: bigint | null) => {
  if (range && at !== null) range.to = at
}
const open = <T extends Range>(list: T[]) => list.filter((row) => row.to === null)
/** Some seconds from the moment on, or without end. */
const until = (at: SQL, seconds: number | null) => (seconds === null ? sql`null` : sql`${at} + make_interval(secs => ${seconds})`)
const end = (at: bigint, seconds: number | null) => (seconds === null ? null : at + BigInt(Math.round(seconds * 1_000_000)))

const changes: Record<string, () => Promise<void>> = {
  async assign() {
    const [person, role, seconds] = [one(people), one(roles), one([null, null, 0.05, 0.3])]
    const at = await change(
      sql`insert into freehold.user_roles (id, user_id, role_id, ends_at) values (gen_random_uuid(), ${person}, ${role}, ${until(sql`now()`, seconds)})`,
    )
    if (at !== null) model.assigned.push({ person, role, from: at, to: end(at, seconds) })
  },
  async unassign() {
    const row = one(open(model.assigned))
    if (!row) return
    close(
      row,
      await change(
        sql`update freehold.user_roles set ends_at = now() where user_id = ${row.person} and role_id = ${row.role} and ends_at is null`,
      ),
    )
  },
  async carry() {
    const [role, permission, scope] = [one(roles), one(PERMISSIONS), one(WIDTH)]
    const at = await change(
      sql`insert into freehold.role_permissions (id, role_id, permission, scope) values (gen_random_uuid(), ${role}, ${permission}, ${scope})`,
    )
    if (at !== null) model.carried.push({ role, permission, scope, from: at, to: null })
  },
  async drop() {
    const row = one(open(model.carried))
    if (!row) return
    close(
      row,
      await change(
        sql`update freehold.role_permissions set ends_at = now() where role_id = ${row.role} and permission = ${row.permission} and ends_at is null`,
      ),
    )
  },
  async reparent() {
    const [role, parent] = [one(roles), one([null, ...roles])]
    const line = open(model.lines).find((l) => l.role === role)
    if (!line || line.parent === parent) return
    const at = await change(sql`update freehold.roles set parent_id = ${parent} where id = ${role}`)
    if (at === null) return
    close(line, at)
    model.lines.push({ role, parent, from: at, to: null })
  },
  async toggleRole() {
    const role = one(roles)
    const line = open(model.lines).find((l) => l.role === role)
    const last = model.lines.filter((l) => l.role === role).at(-1)
    const at = await change(sql`update freehold.roles set is_active = ${!line} where id = ${role}`)
    if (at === null) return
    if (line) close(line, at)
    else model.lines.push({ role, parent: last?.parent ?? null, from: at, to: null })
  },
  async togglePerson() {
    const person = one(people)
    const active = open(model.active).find((a) => a.person === person)
    const at = await change(sql`update freehold.users set is_active = ${!active} where id = ${person}`)
    if (at === null) return
    if (active) close(active, at)
    else model.active.push({ person, from: at, to: null })
  },
  async override() {
    const id = crypto.randomUUID()
    const [person, permission, effect, scope, seconds] = [
      one(people),
      one(PERMISSIONS),
      one(['grant', 'deny']),
      one(WIDTH),
      one([null, 0.1, 0.4]),
    ]
    const at = await change(
      sql`insert into freehold.overrides (id, user_id, permission, effect, scope, ends_at) values (${id}, ${person}, ${permission}, ${effect}, ${scope}, ${until(sql`now()`, seconds)})`,
    )
    if (at !== null) model.overrides.push({ id, person, permission, effect, scope, from: at, to: end(at, seconds) })
  },
  async endOverride() {
    const row = one(open(model.overrides))
    if (row) close(row, await change(sql`update freehold.overrides set ends_at = now() where id = ${row.id}`))
  },
  async delegate() {
    const id = crypto.randomUUID()
    const [from_whom, to_whom, role, seconds] = [one(people), one(people), one([null, ...roles]), one([0.2, 1, 60])]
    const permissions = role ? [] : [one(PERMISSIONS)]
    const at = await change(
      sql`insert into freehold.delegations (id, delegator_id, delegate_id, role_id, starts_at, ends_at) values (${id}, ${from_whom}, ${to_whom}, ${role}, now(), ${until(sql`now()`, seconds)})`,
      ...permissions.map(
        (p) => sql`insert into freehold.delegation_permissions (delegation_id, permission) values (${id}, ${p})`,
      ),
    )
    if (at !== null) model.delegated.push({ id, from_whom, to_whom, role, permissions, from: at, to: end(at, seconds) })
  },
  async revoke() {
    const row = one(model.delegated)
    if (!row) return
    const at = await change(sql`update freehold.delegations set revoked_at = now() where id = ${row.id} and revoked_at is null`)
    if (at !== null && row.to !== null && at < row.to) row.to = at
  },
}

beforeAll(async () => {
  await copyTenant('travelled')
  tenant = await databaseOf('travelled')
  const at = await change(
    ...PERMISSIONS.map((name) => sql`insert into freehold.permissions (id, name) values (gen_random_uuid(), ${name})`),
    ...roles.map((id, i) => sql`insert into freehold.roles (id, name) values (${id}, ${`role-${i}`})`),
    ...people.map(
      (id, i) => sql`insert into freehold.users (id, username, email) values (${id}, ${`p${i}`}, ${`p${i}@people.test`})`,
    ),
  )
  if (at === null) throw new Error('The cast was refused.')
  model.lines.push(...roles.map((role) => ({ role, parent: null, from: at, to: null })))
  model.active.push(...people.map((person) => ({ person, from: at, to: null })))
})

it('what somebody could do at any moment, by roles, inheritance, overrides and delegations, is what the changes say', async () => {
  const names = ['assign', 'assign', 'carry', 'carry', 'delegate', 'delegate', ...Object.keys(changes)]
  for (let i = 0; i < CHANGES; i++) await changes[one(names)]?.()
  const questions = Array.from({ length: QUESTIONS }, () => ({
    person: one(people),
    permission: one(PERMISSIONS),
    // Changes and the moment just before them, and anywhere between.
    at: random(3) ? one(moments) : (moments[0] ?? 0n) + BigInt(random(Number((moments.at(-1) ?? 0n) - (moments[0] ?? 0n)) || 1)),
  }))
  const asked = questions.map(({ person, permission, at }) => [person, permission, String(at)])
  const answer = (part: typeof asked) =>
    tenant.asOwner(
      sql`select q.n, case when access.was_active(q.person, q.at) then access.decide(q.person, q.permission, q.at) end as decided,
          (select max(g.scope) from access.grants(q.person, q.at) g where g.permission = q.permission) as explained,
          q.permission = any (access.permissions_of(q.person, q.at)) as named
        from (select n, (x ->> 0)::uuid as person, x ->> 1 as permission, timestamptz 'epoch' + (x ->> 2)::bigint * interval '1 microsecond' as at
          from jsonb_array_elements(${JSON.stringify(part)}::jsonb) with ordinality as t (x, n)) q order by q.n`,
    )
  // A statement has 15 seconds, however busy the machine is.
  const answers: Awaited<ReturnType<typeof answer>> = []
  for (let i = 0; i < asked.length; i += AT_ONCE) answers.push(...(await answer(asked.slice(i, i + AT_ONCE))))
  const wrong = questions.flatMap((question, i) => {
    const should = expected(question.person, question.permission, question.at)
    const { decided, explained, named } = answers[i] ?? {}
    return decided === should && explained === should && named === (should !== null)
      ? []
      : [{ ...question, at: String(question.at), should, decided, explained, named }]
  })
  expect(wrong.slice(0, 3)).toEqual([])
  const told = questions.map(({ person, permission, at }) => expected(person, permission, at))
  // The questions are not all of one kind.
  for (const scope of [...WIDTH, null])
    expect(told.filter((t) => t === scope).length, String(scope)).toBeGreaterThan(QUESTIONS / 100)
})

it('a check is answered by itself as among a hundred, with the reason that the changes give, and the admission decides the same', async () => {
  // Of all that changed before, little is left that denies something to somebody active.
  for (const row of model.active.filter(({ to }) => to === null && random(2))) {
    const [id, permission] = [crypto.randomUUID(), one(PERMISSIONS)]
    const at = await change(
      sql`insert into freehold.overrides (id, user_id, permission, effect, scope) values (${id}, ${row.person}, ${permission}, 'deny', 'all')`,
    )
    if (at !== null)
      model.overrides.push({ id, person: row.person, permission, effect: 'deny', scope: 'all', from: at, to: null })
  }
  const checks = Array.from({ length: 100 }, () => ({
    user_id: one(people),
    permission: one(PERMISSIONS),
    ...(random(3) ? {} : { resource: { owner_id: one(people) } }),
  }))
  const [row] = await tenant.asOwner(
    sql`select access.answer_many(null, ${JSON.stringify(checks)}::jsonb, null) as together,
      jsonb_agg(access.answer(
        (x ->> 'user_id')::uuid, x, case when not access.was_active((x ->> 'user_id')::uuid, now()) then '{}'::text[] end) order by n) as alone
      from jsonb_array_elements(${JSON.stringify(checks)}::jsonb) with ordinality t (x, n)`,
  )
  const alone = (row?.alone ?? []) as { allowed: boolean; because: { kind: string }[] }[]
  expect(alone).toEqual(row?.together)
  const allowed = alone.filter((answer) => answer.allowed)
  expect(allowed.length).toBeGreaterThan(5)
  expect(allowed.length).toBeLessThan(95)
  const [why] = await tenant.asOwner(
    sql`select access.why_not(null, ${JSON.stringify(checks)}::jsonb, ${JSON.stringify(alone)}::jsonb, null) as told, (extract(epoch from now()) * 1000000)::bigint::text as at`,
  )
  const at = BigInt(why?.at)
  const against = ({ user_id, permission }: (typeof checks)[number]) => {
    if (!model.active.some((a) => a.person === user_id && holds(a, at))) return 'inactive'
    if (overridden(user_id, permission, 'deny', at).length) return 'override'
    return expected(user_id, permission, at) ? 'out_of_scope' : 'not_held'
  }
  const told = (why?.told ?? []) as typeof alone
  const reasons = told.map(({ allowed: yes, because }) =>
    yes ? 'allowed' : [...new Set(because.map(({ kind }) => kind))].join(),
  )
  expect(reasons).toEqual(checks.map((check, i) => (alone[i]?.allowed ? 'allowed' : against(check))))
  // The checks are not all of one kind.
  expect(reasons).toEqual(expect.arrayContaining(['allowed', 'inactive', 'override', 'out_of_scope']))
  const [differing] = await tenant.asOwner(
    sql`select jsonb_agg(jsonb_build_array(p.id, n.name)) as pairs
      from freehold.users p cross join freehold.permissions n
      where access.was_active(p.id, now())
        and (access.user_effective_scope(p.id, n.name)).scope is distinct from access.decide(p.id, n.name, now())`,
  )
  expect(differing?.pairs).toBeNull()
})

it('checks of any moment are answered as the changes say, by themselves as among a hundred', async () => {
  for (let round = 0; round < 20; round++) {
    const at = one(moments)
    const checks = Array.from({ length: 100 }, () => ({ user_id: one(people), permission: one(PERMISSIONS) }))
    const [row] = await tenant.asOwner(
      sql`select access.answer_many(null, x.checks, null, x.at) as together,
        (select jsonb_agg(access.answer((q ->> 'user_id')::uuid, q,
          case when not access.was_active((q ->> 'user_id')::uuid, x.at) then '{}'::text[] end, x.at) order by n)
          from jsonb_array_elements(x.checks) with ordinality t (q, n)) as alone
        from (select ${JSON.stringify(checks)}::jsonb as checks,
          timestamptz 'epoch' + ${String(at)}::bigint * interval '1 microsecond' as at) x`,
    )
    expect(row?.alone).toEqual(row?.together)
    expect(row?.together.map(({ scope }: { scope: string | null }) => scope)).toEqual(
      checks.map(({ user_id, permission }) => expected(user_id, permission, at)),
    )
  }
})

it('what somebody without a role holds by an override is delegated as far as they hold it', async () => {
  const [ann, dan] = [crypto.randomUUID(), crypto.randomUUID()]
  const [delegation, permission] = [crypto.randomUUID(), PERMISSIONS[0]]
  await change(
    sql`insert into freehold.users (id, username, email) values (${ann}, 'ann', 'ann@people.test'), (${dan}, 'dan', 'dan@people.test')`,
    sql`insert into freehold.overrides (id, user_id, permission, effect, scope) values (gen_random_uuid(), ${ann}, ${permission}, 'grant', 'team')`,
    sql`insert into freehold.delegations (id, delegator_id, delegate_id, starts_at, ends_at, decision, decided_at)
      values (${delegation}, ${ann}, ${dan}, now(), now() + interval '1 hour', 'approved', now())`,
    sql`insert into freehold.delegation_permissions (delegation_id, permission) values (${delegation}, ${permission})`,
  )
  const [row] = await tenant.asOwner(
    sql`select access.decide(${dan}, ${permission}, now()) as decided, access.permissions_of(${dan}, now()) as named,
      (access.answer(${dan}, ${JSON.stringify({ permission })}::jsonb, null)) as alone,
      access.answer_many(${dan}, ${JSON.stringify([{ permission }])}::jsonb, null) -> 0 as together`,
  )
  expect(row).toMatchObject({ decided: 'team', named: [permission], alone: { allowed: true, scope: 'team' } })
  expect(row?.alone).toEqual(row?.together)
})
