/** Who may do what, how far, at a moment: over roles, inheritance and the ranges of grants. */
import { type SQL, sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Database, databaseOf } from '../support/databases.ts'
import { copyTenant } from '../support/tenants.ts'

let tenant: Database
beforeAll(async () => {
  await copyTenant('decided')
  tenant = await databaseOf('decided')
  await tenant.asOwner(
    sql`insert into freehold.permissions (id, name) select gen_random_uuid(), n from unnest(array['memo:read', 'memo:write', 'memo:burn']) n`,
  )
})

let n = 0
type Range = { from?: SQL; to?: SQL }
const range = ({ from = sql`now() - interval '1 day'`, to = sql`null` }: Range) => sql`${from}, ${to}`

/** A role with grants; gives its id. */
async function role(
  grants: [string, string, Range?][] = [],
  more: { parent?: string; is_active?: boolean } = {},
): Promise<string> {
  const id = crypto.randomUUID()
  await tenant.asOwner(
    sql`insert into freehold.roles (id, name, parent_id, is_active) values (${id}, ${`role-${n++}`}, ${more.parent ?? null}, ${more.is_active ?? true})`,
    // As if it had been there for long, so that the past can be asked.
    sql`update freehold.role_periods set starts_at = now() - interval '10 days' where role_id = ${id}`,
    ...grants.map(
      ([permission, scope, when = {}]) =>
        sql`insert into freehold.role_permissions (id, role_id, permission, scope, starts_at, ends_at) values (gen_random_uuid(), ${id}, ${permission}, ${scope}, ${range(when)})`,
    ),
  )
  return id
}

/** A person who holds roles; gives their id. */
async function person(...roles: (string | [string, Range])[]): Promise<string> {
  const id = crypto.randomUUID()
  await tenant.asOwner(
    sql`insert into freehold.users (id, username, email, role) values (${id}, ${`p${n}`}, ${`p${n++}@acme.test`}, null)`,
    ...roles.map((given) => {
      const [role_id, when] = typeof given === 'string' ? [given, {}] : given
      return sql`insert into freehold.user_roles (id, user_id, role_id, starts_at, ends_at) values (gen_random_uuid(), ${id}, ${role_id}, ${range(when)})`
    }),
  )
  return id
}

const decide = async (who: string, permission = 'memo:read', at = sql`now()`) =>
  (await tenant.asOwner(sql`select access.decide(${who}, ${permission}, ${at}) as scope`))[0]?.scope
const past: Range = { to: sql`now() - interval '1 hour'` }
const tomorrow: Range = { from: sql`now() + interval '1 day'` }

describe('a decision', () => {
  it('is no, without any role, for nobody, and for what no role carries', async () => {
    const holder = await person(await role([['memo:read', 'all']]))
    expect(await decide(holder)).toBe('all')
    expect([
      await decide(await person()),
      await decide(crypto.randomUUID()),
      await decide(holder, 'memo:write'),
      await decide(holder, 'memo:%'),
      await decide(holder, 'MEMO:READ'),
    ]).toEqual(Array(5).fill(null))
  })

  it('goes through inheritance, three deep', async () => {
    const oldest = await role([['memo:burn', 'team']])
    const middle = await role([['memo:write', 'department']], { parent: await role([], { parent: oldest }) })
    const heir = await person(await role([['memo:read', 'own']], { parent: middle }))
    expect([await decide(heir), await decide(heir, 'memo:write'), await decide(heir, 'memo:burn')]).toEqual([
      'own',
      'department',
      'team',
    ])
    expect(await decide(await person(oldest))).toBe(null)
  })

  it('is not given by a role that is inactive, nor through one', async () => {
    const source = await role([['memo:read', 'all']])
    const inactive = await role([['memo:write', 'all']], { parent: source, is_active: false })
    const through = await person(await role([], { parent: inactive }))
    const direct = await person(inactive)
    for (const who of [through, direct]) expect([await decide(who), await decide(who, 'memo:write')]).toEqual([null, null])
  })

  it.each<[string, Range, null | string]>([
    ['ended an hour ago', past, null],
    ['ends this very moment', { to: sql`now()` }, null],
    ['ends tomorrow', { to: sql`now() + interval '1 day'` }, 'all'],
    ['starts tomorrow', tomorrow, null],
    ['starts this very moment', { from: sql`now()` }, 'all'],
  ])('is, of a grant that %s', async (_, when, expected) => {
    const at = sql`transaction_timestamp()`
    const byRole = await person(await role([['memo:read', 'all', when]]))
    const byPerson = await person([await role([['memo:read', 'all']]), when])
    expect([await decide(byRole, 'memo:read', at), await decide(byPerson, 'memo:read', at)]).toEqual([expected, expected])
  })

  it('is the widest: all before department before team before own', async () => {
    const scopes = ['own', 'team', 'department', 'all']
    const roles = await Promise.all(scopes.map((scope) => role([['memo:read', scope]])))
    for (let i = 0; i < scopes.length; i++) expect(await decide(await person(...roles.slice(0, i + 1)))).toBe(scopes[i])
    expect(await decide(await person([roles[3] ?? '', past], roles[1] ?? ''))).toBe('team')
  })

  it('is the widest over inheritance too', async () => {
    const parent = await role([['memo:read', 'all']])
    expect(await decide(await person(await role([['memo:read', 'own']], { parent })))).toBe('all')
  })

  it('can be asked of a past moment', async () => {
    const who = await person([await role([['memo:read', 'team']]), past])
    expect([
      await decide(who),
      await decide(who, 'memo:read', sql`now() - interval '2 hours'`),
      await decide(who, 'memo:read', sql`now() - interval '2 days'`),
    ]).toEqual([null, 'team', null])
  })

  it('never meets roles that inherit from each other in a circle', async () => {
    const first = await role([['memo:read', 'own']])
    const second = await role([['memo:write', 'all']], { parent: first })
    const circle = tenant.asOwner(sql`update freehold.roles set parent_id = ${second} where id = ${first}`)
    await expect(circle).rejects.toMatchObject({ code: 'FH400', hint: 'parent_id' })
  })

  it('agrees with the list of what somebody holds', async () => {
    const parent = await role([
      ['memo:burn', 'own'],
      ['memo:write', 'all', past],
    ])
    const who = await person(
      await role(
        [
          ['memo:read', 'own'],
          ['memo:write', 'own', tomorrow],
        ],
        { parent },
      ),
    )
    const [row] = await tenant.asOwner(
      sql`select access.permissions_of(${who}, now()) as held, access.role_names(${who}, now()) as roles`,
    )
    expect([...(row?.held ?? [])].sort()).toEqual(['memo:burn', 'memo:read'])
    expect(row?.roles).toHaveLength(1)
  })
})
