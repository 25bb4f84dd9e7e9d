import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { databaseOf, rowsOf } from '../support/databases.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

let id: string
let appUrl: string
let sessionId: string
let userId: string
let proof: string
let key: string

beforeAll(async () => {
  id = (await copyTenant('doors')).id
  const [, body] = (await tokenOf('doors')).split('.')
  const claims = JSON.parse(atob(String(body).replaceAll('-', '+').replaceAll('_', '/')))
  sessionId = claims.sid
  userId = claims.sub
  proof = claims.proof
  const database = await databaseOf('doors')
  appUrl = database.app_url
  key = database.system_key
})

/** What the app login sees and is after some statements of its own, in one transaction. */
async function left(...statements: ReturnType<typeof sql>[]) {
  const [row] = await rowsOf(
    appUrl,
    ...statements,
    sql`select (select count(*)::int from freehold.users) as people, access.principal() as principal, access.session() as session, access.scope() as scope`,
  )
  return row
}

const NOBODY = { people: 0, principal: null, session: null, scope: null }

describe('whoever calls a door is let in by nothing that they say there', () => {
  const lies = () =>
    JSON.stringify({ scope: 'all', user_id: userId, session_id: sessionId, permission: 'user:read', user_name: 'bo' })
  const attempt = () => sql`(access.begin_login(${id}, ${key}, 'bo') ->> 'attempt')::uuid`

  it('record_refusal, with a real credential and with none', async () => {
    for (const credential of ['{}', JSON.stringify({ user_id: userId, session_id: sessionId, proof })]) {
      expect(
        await left(sql`select access.record_refusal(${id}, ${key}, ${credential}::jsonb, 'x', null, ${lies()}::jsonb)`),
      ).toEqual(NOBODY)
    }
  })

  it('a login that fails', async () => {
    expect(
      await left(
        sql`select access.finish_login(${id}, ${key}, ${attempt()}, ${'A'.repeat(43)}, null, '\\x0a'::bytea, ${lies()}::jsonb)`,
      ),
    ).toEqual(NOBODY)
    expect(
      await left(sql`select access.finish_login(${id}, ${key}, gen_random_uuid(), 'x', null, '\\x0b'::bytea, ${lies()}::jsonb)`),
    ).toEqual(NOBODY)
  })

  it('a refresh with a token that is none', async () => {
    expect(await left(sql`select access.refresh(${id}, ${key}, '\\x0c'::bytea, '\\x0d'::bytea, ${lies()}::jsonb)`)).toEqual(
      NOBODY,
    )
  })

  it('and a settings’ seal of a door is no seal of an admission', async () => {
    const copied = sql`select set_config('access.claims', current_setting('access.actor'), true), set_config('access.signature', current_setting('access.actor_signature'), true)`
    const door = sql`select access.record_refusal(${id}, ${key}, '{}', 'x', null, ${lies()}::jsonb)`
    expect(await left(door, copied)).toEqual(NOBODY)
  })

  it('an admission takes no reach from the request', async () => {
    const credential = JSON.stringify({ user_id: userId, session_id: sessionId, proof })
    expect(await left(sql`select * from access.admit(${id}, ${credential}::jsonb, null, ${lies()}::jsonb)`)).toMatchObject({
      people: 1,
      principal: userId,
      scope: 'own',
    })
  })
})
