/**
 * Threat: an answer without its reason, or with a wrong one; one check without an answer that takes a hundred others with it; a reason
 * that tells about a user out of reach, or beyond what an API key names.
 */
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

async function member(username: string, roles = ['user']) {
  const person = await addPerson(realm, username, { roles })
  const access_token = await tokenOf('why-not', username)
  return { id: person.id, token: access_token as string }
}

beforeAll(async () => {
  await copyTenant('why-not')
  realm = await inside('why-not')
  bo = await tokenOf('why-not')
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
})

const ask = async (token: string, ...checks: object[]) => call('why-not', '/api/v1/authz/check', { token, body: { checks } })
const results = async (token: string, ...checks: object[]) => {
  const answer = await ask(token, ...checks)
  expect(answer.status, JSON.stringify(answer.body)).toBe(200)
  return answer.body.results
}

/** Why something is not allowed, and what a check without an answer is answered. */
const against = (kind: string, name: string, id: string | null = null) => ({ kind, effect: 'deny', id, name, via: null })
const unanswered = (error: object) => ({ allowed: false, scope: null, because: [], error })
const stranger = (i: number) =>
  unanswered({ code: 'not_found', detail: 'There is no such user.', pointer: `#/checks/${i}/user_id` })
const unknown = (i: number, field: string, names: string) =>
  unanswered({ code: 'invalid_request', detail: `there is no ${names} here`, pointer: `#/checks/${i}/${field}` })

describe('a question without an answer', () => {
  it('about what does not exist is told in its place, alone and among others', async () => {
    const [fly, role, write] = [{ permission: 'memo:fly' }, { role: 'nobody' }, { permission: 'memo:write' }]
    expect(await results(cy.token, fly)).toEqual([unknown(0, 'permission', 'memo:fly')])
    expect(await results(cy.token, role)).toEqual([unknown(0, 'role', 'nobody')])
    for (const more of [[], [write, write]]) {
      const answers = await results(cy.token, write, fly, role, write, ...more)
      expect(answers.map(({ allowed }: any) => allowed)).toEqual([true, false, false, true, ...more.map(() => true)])
      expect(answers.slice(1, 3)).toEqual([unknown(1, 'permission', 'memo:fly'), unknown(2, 'role', 'nobody')])
      expect(answers[0]).not.toHaveProperty('error')
    }
  })

  it('in a part of `any_of` is decided over the rest, and names the part', async () => {
    const [some, none, nothing] = await results(
      cy.token,
      { any_of: ['memo:read', 'memo:fly', 'memo:swim', 'memo:fly'] },
      { any_of: ['memo:fly', 'memo:burn'] },
      { any_of: ['memo:fly'] },
    )
    expect(some).toMatchObject({ allowed: true, scope: 'team', because: [{ kind: 'inherited', effect: 'grant' }] })
    expect(some.error).toEqual(unknown(0, 'any_of', 'memo:fly, memo:swim').error)
    expect(none).toEqual({ ...unknown(1, 'any_of', 'memo:fly'), because: [against('not_held', 'memo:burn')] })
    expect(nothing).toEqual(unknown(2, 'any_of', 'memo:fly'))
  })

  it('about a user out of reach is told in its place, the same whether they exist, and tells nothing of them', async () => {
    const own = { permission: 'memo:burn' }
    const strangers = [cy.id, crypto.randomUUID()].flatMap((user_id) => [
      { user_id, permission: 'memo:write' },
      { user_id, permission: 'memo:fly' },
      { user_id, role: 'writer' },
      { user_id, any_of: ['memo:read', 'memo:fly'] },
    ])
    const answers = await results(dee.token, own, ...strangers, own)
    expect(answers.slice(1, -1)).toEqual(strangers.map((_, i) => stranger(i + 1)))
    for (const answer of [answers[0], answers.at(-1)]) expect(answer.because).toEqual([against('not_held', 'memo:burn')])
    expect(await results(dee.token, strangers[0] as object, own)).toEqual([stranger(0), answers[0]])
  })

  it('is told in the language of the caller', async () => {
    const answer = await call('why-not', '/api/v1/authz/check', {
      token: dee.token,
      headers: { 'Accept-Language': 'es' },
      body: {
        checks: [{ any_of: Array.from({ length: 50 }, (_, i) => `${'m'.repeat(62)}:a${i}`) }, { user_id: cy.id, role: 'user' }],
      },
    })
    expect(answer.body.results[0].error.detail).toMatch(/^aquí no existe m+:a0, m.*, \.\.\.$/)
    expect(answer.body.results[1].error.detail).toBe('No existe ese usuario.')
  })

  it('leaves a hundred others answered, in one round trip', async () => {
    const many = Array.from({ length: 100 }, (_, i) =>
      i % 3 === 0
        ? { permission: 'memo:fly' }
        : i % 3 === 1
          ? { user_id: crypto.randomUUID(), role: 'user' }
          : { role: 'writer' },
    )
    const answer = await ask(cy.token, ...many)
    expect([answer.status, answer.trips]).toEqual([200, 1])
    expect(answer.body.results.map(({ error }: any) => error?.code)).toEqual(
      many.map((_, i) => ['invalid_request', 'not_found', undefined][i % 3]),
    )
    expect(answer.body.results.filter(({ allowed }: any) => allowed)).toHaveLength(33)
  })
})

describe('a refused check says why:', () => {
  /** The answers to the checks one by one, which are the same as among many. */
  async function bothWays(token: string, ...checks: object[]) {
    const together = await results(token, ...checks, ...Array(4).fill({ permission: 'memo:burn' }))
    for (const [i, one] of checks.entries()) expect((await results(token, one))[0]).toEqual(together[i])
    return together.slice(0, checks.length).map(({ because }: any) => because)
  }

  it('a denial, by its id, before everything that would grant it', async () => {
    const fay = await member('fay', ['writer', 'user'])
    const denial = crypto.randomUUID()
    await realm.asOwner(
      sql`insert into freehold.overrides (id, user_id, permission, effect, scope) values (${denial}, ${fay.id}, 'memo:write', 'deny', 'all')`,
      sql`insert into freehold.overrides (id, user_id, permission, effect, scope, starts_at, ends_at)
        values (gen_random_uuid(), ${fay.id}, 'memo:burn', 'deny', 'all', now() - interval '2 hours', now() - interval '1 hour')`,
    )
    expect(
      await bothWays(
        fay.token,
        { permission: 'memo:write' },
        { any_of: ['memo:burn', 'memo:write'] },
        { permission: 'memo:write', resource: { owner_id: fay.id } },
        { role: 'writer' },
      ),
    ).toEqual([
      [against('override', 'memo:write', denial)],
      [against('not_held', 'memo:burn'), against('override', 'memo:write', denial)],
      [against('override', 'memo:write', denial)],
      [{ kind: 'role', effect: 'grant', id: expect.any(String), name: 'writer', via: null }],
    ])
  })

  it('held, but not as far as the resource', async () => {
    const resource = { owner_id: dee.id }
    expect(
      await bothWays(
        cy.token,
        { permission: 'memo:read', resource },
        { permission: 'memo:burn', resource },
        { any_of: ['memo:burn', 'memo:read', 'memo:write'], resource },
      ),
    ).toEqual([
      [against('out_of_scope', 'memo:read')],
      [against('not_held', 'memo:burn')],
      [against('out_of_scope', 'memo:read'), against('out_of_scope', 'memo:write'), against('not_held', 'memo:burn')],
    ])
  })

  it('the user is not active', async () => {
    const gil = await member('gil', ['writer', 'user'])
    await realm.asOwner(sql`update freehold.users set is_active = false where id = ${gil.id}`)
    expect(await bothWays(bo, { user_id: gil.id, permission: 'memo:write' }, { user_id: gil.id, role: 'writer' })).toEqual([
      [against('inactive', 'memo:write')],
      [against('inactive', 'writer')],
    ])
  })

  it('the API key does not name it, and then nothing of what its owner holds or is denied', async () => {
    const hoa = await member('hoa', ['writer', 'user'])
    const made = await call('why-not', '/api/v1/api-keys', {
      token: hoa.token,
      body: { name: 'narrow', permissions: ['memo:read'] },
    })
    await realm.asOwner(
      sql`insert into freehold.overrides (id, user_id, permission, effect, scope) values (gen_random_uuid(), ${hoa.id}, 'memo:burn', 'deny', 'all')`,
    )
    const checks = ['memo:write', 'memo:burn'].map((permission) => ({ permission }))
    const by = async (...asked: object[]) =>
      (
        await call('why-not', '/api/v1/authz/check', { headers: { 'X-API-Key': made.body.key }, body: { checks: asked } })
      ).body.results.map(({ because }: any) => because)
    const not = (name: string) => [against('api_key', name, made.body.id)]
    expect(await by(...checks)).toEqual([not('memo:write'), not('memo:burn')])
    expect(await by(...checks, { role: 'writer' }, { role: 'admin' })).toEqual(
      ['memo:write', 'memo:burn', 'writer', 'admin'].map(not),
    )
  })
})

describe('what somebody holds', () => {
  const held = (id: string, query = '') => call('why-not', `/api/v1/users/${id}/permissions${query}`, { token: bo })

  it('is told with what they are denied, and was denied at a past moment', async () => {
    const ivo = await member('ivo', ['writer', 'user'])
    const [denial, past] = [crypto.randomUUID(), crypto.randomUUID()]
    await realm.asOwner(
      sql`insert into freehold.overrides (id, user_id, permission, effect, scope) values (${denial}, ${ivo.id}, 'memo:write', 'deny', 'all')`,
      sql`insert into freehold.overrides (id, user_id, permission, effect, scope, starts_at, ends_at)
        values (${past}, ${ivo.id}, 'memo:burn', 'deny', 'all', now() - interval '2 hours', now() - interval '1 hour')`,
    )
    const denials = async (query = '') => (await held(ivo.id, query)).body.denials
    expect(await denials()).toEqual([{ permission: 'memo:write', because: [against('override', 'memo:write', denial)] }])
    const then = new Date(Date.now() - 90 * 60_000).toISOString()
    expect(await denials(`?at=${then}`)).toEqual([{ permission: 'memo:burn', because: [against('override', 'memo:burn', past)] }])
    expect((await held(dee.id)).body.denials).toEqual([])
  })
})
