/** Threat: an answer that is wrong, that tells about a person out of reach, or that pretends to know the future. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { addPerson, type Inside, inside } from '../support/inside.ts'
import { call } from '../support/people.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

let realm: Inside
let bo: string
let cy: { id: string; token: string }
let dee: { id: string; token: string }
let outsider: string

async function member(username: string, roles = ['user']) {
  const person = await addPerson(realm, username, { roles })
  const access_token = await tokenOf('asked', username)
  return { id: person.id, token: access_token as string }
}

beforeAll(async () => {
  await copyTenant('asked')
  await copyTenant('asked-elsewhere')
  realm = await inside('asked')
  bo = await tokenOf('asked')
  await realm.asOwner(
    sql`insert into freehold.permissions (id, name) values (gen_random_uuid(), 'memo:read'), (gen_random_uuid(), 'memo:burn'), (gen_random_uuid(), 'memo:write')`,
    sql`insert into freehold.roles (id, name) values ('0192f3d0-0000-7000-8000-0000000000a1', 'reader')`,
    sql`insert into freehold.roles (id, name, parent_id) values ('0192f3d0-0000-7000-8000-0000000000a2', 'writer', '0192f3d0-0000-7000-8000-0000000000a1')`,
    sql`insert into freehold.role_permissions (id, role_id, permission, scope) values (gen_random_uuid(), '0192f3d0-0000-7000-8000-0000000000a1', 'memo:read', 'team'),
      (gen_random_uuid(), '0192f3d0-0000-7000-8000-0000000000a2', 'memo:write', 'own')`,
    sql`insert into freehold.units (id, kind, name) values ('0192f3d0-0000-7000-8000-0000000000b1', 'department', 'Lab')`,
    sql`insert into freehold.units (id, kind, name, parent_id) values ('0192f3d0-0000-7000-8000-0000000000b2', 'team', 'Night', '0192f3d0-0000-7000-8000-0000000000b1')`,
  )
  cy = await member('cy', ['writer', 'user'])
  dee = await member('dee')
  await realm.asOwner(sql`update freehold.users set unit_id = '0192f3d0-0000-7000-8000-0000000000b2' where username = 'cy'`)
  outsider = await tokenOf('asked-elsewhere')
})

const ask = async (token: string, ...checks: object[]) => call('asked', '/api/v1/authz/check', { token, body: { checks } })
const results = async (token: string, ...checks: object[]) => {
  const answer = await ask(token, ...checks)
  expect(answer.status, JSON.stringify(answer.body)).toBe(200)
  return answer.body.results
}

describe('a question', () => {
  it('is answered with scope and reasons: by a role, and by what it inherits', async () => {
    expect(
      await results(cy.token, { permission: 'memo:write' }, { permission: 'memo:read' }, { permission: 'memo:burn' }),
    ).toEqual([
      {
        allowed: true,
        scope: 'own',
        because: [{ kind: 'role', effect: 'grant', id: expect.any(String), name: 'writer', via: null }],
      },
      {
        allowed: true,
        scope: 'team',
        because: [{ kind: 'inherited', effect: 'grant', id: expect.any(String), name: 'reader', via: 'writer' }],
      },
      { allowed: false, scope: null, because: [{ kind: 'not_held', effect: 'deny', id: null, name: 'memo:burn', via: null }] },
    ])
  })

  it('for any of several, for a role, for an inherited role', async () => {
    const answers = await results(
      cy.token,
      { any_of: ['memo:burn', 'memo:read'] },
      { any_of: ['memo:burn'] },
      { role: 'writer' },
      { role: 'reader' },
      { role: 'admin' },
    )
    expect(answers.map(({ allowed }: any) => allowed)).toEqual([true, false, true, true, false])
    expect(answers[3].because).toEqual([
      { kind: 'inherited', effect: 'grant', id: expect.any(String), name: 'reader', via: 'writer' },
    ])
    expect(answers[4].because).toEqual([{ kind: 'not_held', effect: 'deny', id: null, name: 'admin', via: null }])
  })

  it('about a resource is answered by the scope: own, the same unit, all', async () => {
    const team = '0192f3d0-0000-7000-8000-0000000000b2'
    const above = '0192f3d0-0000-7000-8000-0000000000b1'
    const asked = (resource: object) => results(cy.token, { permission: 'memo:read', resource })
    expect((await asked({ unit_id: team }))[0].allowed).toBe(true)
    expect((await asked({ unit_id: above }))[0].allowed).toBe(false)
    expect((await asked({ owner_id: cy.id }))[0].allowed).toBe(true)
    expect((await asked({ owner_id: dee.id }))[0].allowed).toBe(false)
    expect((await results(cy.token, { permission: 'memo:write', resource: { unit_id: team } }))[0].allowed).toBe(false)
    expect((await results(bo, { permission: 'memo:read', resource: { unit_id: above } }))[0].allowed).toBe(true)
  })

  it('about another is answered to who reaches them, and to nobody else', async () => {
    expect((await results(bo, { user_id: cy.id, permission: 'memo:write' }))[0]).toMatchObject({ allowed: true, scope: 'own' })
    for (const user_id of [cy.id, crypto.randomUUID()])
      expect(await results(dee.token, { user_id, permission: 'memo:write' })).toMatchObject([
        { allowed: false, because: [], error: { code: 'not_found' } },
      ])
  })

  it('of a past moment is answered as it was then, alone and among a hundred, in one round trip', async () => {
    const fay = await member('fay')
    const clock = async () =>
      (await realm.asOwner(sql`select to_char(clock_timestamp() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at`))[0]
        ?.at as string
    const before = await clock()
    const role = '0192f3d0-0000-7000-8000-0000000000a2'
    await realm.asOwner(
      sql`insert into freehold.user_roles (id, user_id, role_id) values (gen_random_uuid(), ${fay.id}, ${role})`,
    )
    const between = await clock()
    await realm.asOwner(
      sql`update freehold.user_roles set ends_at = now() where user_id = ${fay.id} and role_id = ${role}`,
      sql`insert into freehold.overrides (id, user_id, permission, effect, scope) values (gen_random_uuid(), ${fay.id}, 'memo:read', 'deny', 'all')`,
    )
    const checks = [{ permission: 'memo:write' }, { role: 'writer' }, { any_of: ['memo:burn', 'memo:read'] }]
    const asked = async (at: string | undefined, token = fay.token, about: object = {}) => {
      const one = checks.map((check) => ({ ...check, ...about }))
      const single: any[] = []
      for (const check of one) {
        const answer = await call('asked', '/api/v1/authz/check', { token, body: { checks: [check], at } })
        expect([answer.status, answer.trips], JSON.stringify(answer.body)).toEqual([200, 1])
        single.push(...answer.body.results)
      }
      const many = Array.from({ length: 33 }, () => one).flat()
      const answer = await call('asked', '/api/v1/authz/check', { token, body: { checks: many, at } })
      expect(answer.trips).toBe(1)
      expect(answer.body.results).toEqual(Array.from({ length: 33 }, () => single).flat())
      return single.map(({ allowed, because }) => [allowed, because.map(({ kind }: any) => kind).join()])
    }
    const nothing = [false, 'not_held']
    expect(await asked(before)).toEqual([nothing, nothing, [false, 'not_held,not_held']])
    expect(await asked(between)).toEqual([
      [true, 'role'],
      [true, 'role'],
      [true, 'inherited'],
    ])
    expect(await asked(undefined)).toEqual([nothing, nothing, [false, 'not_held,override']])
    // Before the user, and before the tenant: for themselves as for others.
    const inactive = [
      [false, 'inactive'],
      [false, 'inactive'],
      [false, 'inactive,inactive'],
    ]
    expect(await asked('2001-01-01T00:00:00Z')).toEqual(inactive)
    expect(await asked('2001-01-01T00:00:00Z', bo, { user_id: fay.id })).toEqual(inactive)
    expect((await asked(between, bo, { user_id: fay.id }))[0]).toEqual([true, 'role'])
    // Whom one does not reach now one learns nothing of.
    const strange = await call('asked', '/api/v1/authz/check', {
      token: dee.token,
      body: { checks: [{ user_id: fay.id, permission: 'memo:write' }], at: between },
    })
    expect(strange.body.results[0]).toMatchObject({ allowed: false, because: [], error: { code: 'not_found' } })
  })

  it.each(['2999-01-01T00:00:00Z', '2026-02-30T00:00:00Z', '2026-01-01', 'yesterday', 7, '', null])(
    'of %j is refused with its place',
    async (at) => {
      const answer = await call('asked', '/api/v1/authz/check', {
        token: cy.token,
        body: { checks: [{ permission: 'memo:write' }], at },
      })
      expect([answer.status, answer.body.code, answer.body.errors?.[0]?.pointer]).toEqual([400, 'invalid_request', '#/at'])
    },
  )

  it('comes a hundred at a time and no more, in order, in one round trip', async () => {
    const many = Array.from({ length: 100 }, (_, i) => ({ permission: i % 2 ? 'memo:write' : 'memo:burn' }))
    const answer = await ask(cy.token, ...many)
    expect(answer.trips).toBe(1)
    expect(answer.body.results.map(({ allowed }: any) => allowed)).toEqual(many.map((_, i) => i % 2 === 1))
    const over = await ask(cy.token, ...many, { permission: 'memo:write' })
    expect([over.status, over.body.code]).toEqual([400, 'invalid_request'])
  })

  it.each([
    [[{}], '#/checks/0/permission'],
    [[{ permission: 'memo:read', role: 'reader' }], '#/checks/0/permission'],
    [[{ permission: 'memo' }], '#/checks/0/permission'],
    [[{ permission: 7 }], '#/checks/0/permission'],
    [[{ permission: 'memo:read', surprise: 1 }], '#/checks/0/surprise'],
    [[{ permission: 'memo:read', resource: { surprise: 1 } }], '#/checks/0/resource/surprise'],
    [[{ permission: 'memo:read', user_id: 'x' }], '#/checks/0/user_id'],
    [[], '#/checks'],
  ])('that is none is refused with its place: %j', async (checks, pointer) => {
    const answer = await ask(cy.token, ...checks)
    expect([answer.status, answer.body.code, answer.body.errors?.[0]?.pointer]).toEqual([400, 'invalid_request', pointer])
  })

  it('is not for the anonymous, nor for who is from elsewhere', async () => {
    const anonymous = await call('asked', '/api/v1/authz/check', { body: { checks: [{ permission: 'memo:read' }] } })
    expect([anonymous.status, anonymous.body.code]).toEqual([401, 'token_missing'])
    const foreign = await ask(outsider, { permission: 'memo:read' })
    expect([foreign.status, foreign.body.code]).toEqual([401, 'token_wrong_tenant'])
  })
})

describe('what somebody holds', () => {
  const held = (token: string, id: string, query = '') => call('asked', `/api/v1/users/${id}/permissions${query}`, { token })

  it('is told with its reasons, now and at a past moment', async () => {
    const eve = await member('eve')
    const [before] = await realm.asOwner(
      sql`select to_char(clock_timestamp() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at`,
    )
    await realm.asOwner(
      sql`insert into freehold.overrides (id, user_id, permission, effect, scope) values (gen_random_uuid(), ${eve.id}, 'memo:burn', 'grant', 'department')`,
    )
    const burning = (answer: any) => answer.body.permissions.find(({ permission }: any) => permission === 'memo:burn')
    const now = await held(bo, eve.id)
    expect(burning(now)).toMatchObject({ scope: 'department', because: [{ kind: 'override', effect: 'grant' }] })
    expect(now.trips).toBe(1)
    expect(burning(await held(bo, eve.id, `?at=${before?.at}`))).toBeUndefined()
    const past = await held(bo, eve.id, '?at=2001-01-01T00:00:00Z')
    expect([past.body.roles, past.body.permissions]).toEqual([[], []])
  })

  it('is nobody else’s business, and told to oneself', async () => {
    expect((await held(dee.token, dee.id)).status).toBe(200)
    expect((await held(dee.token, cy.id)).body.code).toBe('not_found')
    expect((await held(bo, crypto.randomUUID())).body.code).toBe('not_found')
    expect((await held(outsider, cy.id)).body.code).toBe('token_wrong_tenant')
  })

  it('is recorded when somebody looks at another’s', async () => {
    const count = async () =>
      (
        await realm.asOwner(
          sql`select count(*)::integer as n from freehold.audit_log where activity_type = 'PERMISSIONS_READ' and resource_id = ${dee.id}`,
        )
      )[0]?.n
    await held(dee.token, dee.id)
    expect(await count()).toBe(0)
    await held(bo, dee.id)
    expect(await count()).toBe(1)
  })

  it.each(['2999-01-01T00:00:00Z', 'yesterday', '2026-13-01T00:00:00Z', ''])('is not told of %j', async (at) => {
    const answer = await held(bo, cy.id, `?at=${encodeURIComponent(at)}`)
    expect([answer.status, answer.body.code, answer.body.errors?.[0]?.pointer]).toEqual([400, 'invalid_request', '#/query/at'])
  })
})

describe('who holds a permission', () => {
  const holders = (token: string, name: string, query = '') =>
    call('asked', `/api/v1/permissions/${encodeURIComponent(name)}/holders${query}`, { token })

  it('is told with the scope, page after page', async () => {
    const seen: any[] = []
    let cursor: string | null = ''
    do {
      const answer: any = await holders(bo, 'memo:read', `?limit=1${cursor && `&cursor=${cursor}`}`)
      expect(answer.status, JSON.stringify(answer.body)).toBe(200)
      seen.push(...answer.body.data)
      cursor = answer.body.next_cursor
    } while (cursor)
    expect(seen.map(({ username, scope }) => [username, scope]).sort()).toEqual([
      ['bo', 'all'],
      ['cy', 'team'],
    ])
  })

  it('is refused to a member, and of what is not there', async () => {
    expect((await holders(dee.token, 'memo:read')).body.code).toBe('forbidden')
    expect((await holders(bo, 'memo:fly')).body.code).toBe('not_found')
    expect((await holders(bo, 'memo:read', '?cursor=eyJ9.xxxxxxxxxxxxxxxxxxxxxx')).body.code).toBe('invalid_cursor')
    expect((await holders(bo, 'memo:read', '?at=2999-01-01T00:00:00Z')).body.code).toBe('invalid_request')
  })
})
