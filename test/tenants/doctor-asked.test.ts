/** How the doctor is asked: in pages, by whom, and with what it is refused. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { master } from '../support/databases.ts'
import { examine, type Finding, fix, patient, remove } from '../support/doctor.ts'
import { inside } from '../support/inside.ts'
import { call, operatorToken } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { addMember, addRole } from '../users/cast.ts'

const NAME = 'doctor-asked'
let token: string
let id: string

beforeAll(async () => {
  token = await operatorToken()
  id = (await patient(NAME)).id
})

describe('the question', () => {
  it('is answered in pages, which together are everything, whatever their size', async () => {
    const one = await examine('kv', 7)
    const many = await examine('kv', 100)
    const own = (found: Finding[]) => found.filter(({ tenant_id }) => tenant_id === id)
    expect(own(one)).toEqual(own(many))
  })

  it('without a check walks all of them, in order', async () => {
    const checks: string[] = []
    let cursor = ''
    do {
      const { body } = await call('', `/platform/v1/doctor?limit=100${cursor ? `&cursor=${cursor}` : ''}`, { token })
      checks.push(...body.data.map(({ check }: Finding) => check))
      cursor = body.next_cursor ?? ''
    } while (cursor)
    const order = ['registry', 'kv', 'neon', 'work']
    expect(checks.map((check) => order.indexOf(check))).toEqual(checks.map((check) => order.indexOf(check)).sort())
  })

  it('and the fixes are for operators who may', async () => {
    await master(
      sql`insert into freehold.users (id, username, email, role) values (gen_random_uuid(), 'asked-reader', 'asked-reader@freehold.test', 'auditor')`,
    )
    const auditor = await tokenOf('', 'asked-reader')
    const ask = (path: string, body?: unknown, as: string | undefined = auditor) =>
      call('', `/platform/v1/doctor${path}`, { token: as, ...(body !== undefined && { body }) })
    expect((await ask('?check=work')).status).toBe(200)
    expectProblem(await ask('/fix', { code: 'kv_missing', subject: NAME }), 403, 'forbidden')
    expectProblem(await ask('/remove', { code: 'login_of_nobody', subject: 'a/b', confirm: 'b' }), 403, 'forbidden')
    expectProblem(await call('', '/platform/v1/doctor'), 401, 'token_missing')
  })

  it('and the fixes are for nobody whose permission reaches less than all tenants', async () => {
    const realm = await inside('')
    await addRole(realm, 'asked-narrow', ['tenant:read', 'tenant:update', 'tenant:delete'], 'own')
    const { token } = await addMember(realm, 'asked-narrow', { roles: ['asked-narrow'] })
    for (const [path, body] of [
      ['', undefined],
      ['/fix', { code: 'kv_missing', subject: NAME }],
      ['/remove', { code: 'login_of_nobody', subject: 'a/b', confirm: 'b' }],
    ] as const)
      expectProblem(await call('', `/platform/v1/doctor${path}`, { token, ...(body && { body }) }), 403, 'forbidden')
  })

  it.each<[string, object]>([
    ['/fix', {}],
    ['/fix', { code: 'kv_missing' }],
    ['/fix', { code: 'kv_missing', subject: '' }],
    ['/fix', { code: 'kv_missing', subject: 7 }],
    ['/fix', { code: 'kv_missing', subject: 'a\0b' }],
    ['/fix', { code: 'kv_missing', subject: 'x'.repeat(601) }],
    ['/fix', { code: 'tenant_failed', subject: NAME }],
    ['/fix', { code: 'constructor', subject: NAME }],
    ['/fix', { code: 'kv_missing', subject: NAME, more: 1 }],
    ['/remove', { code: 'kv_missing', subject: NAME, confirm: NAME }],
    ['/remove', { code: 'login_of_nobody', subject: 'a/b' }],
    ['/remove', { code: 'login_of_nobody', subject: 'a/b', confirm: null }],
  ])('is refused at %s with %j', async (path, body) => {
    expectProblem(await call('', `/platform/v1/doctor${path}`, { token, body }), 400, 'invalid_request')
  })

  it.each(['check=galaxy', 'limit=0', 'limit=101', 'limit=x', 'more=1'])('is refused with ?%s', async (query) => {
    expectProblem(await call('', `/platform/v1/doctor?${query}`, { token }), 400, 'invalid_request')
  })

  it.each(['x', '', 'c.AAAA.AAAA'])('is refused with a cursor %j that is not of this list', async (cursor) => {
    expectProblem(await call('', `/platform/v1/doctor?cursor=${cursor}`, { token }), 400, 'invalid_cursor')
    const { body } = await call('', '/platform/v1/doctor?check=work&limit=1', { token })
    expectProblem(await call('', `/platform/v1/doctor?check=kv&cursor=${body.next_cursor}`, { token }), 400, 'invalid_cursor')
  })
  it.each(['nobody', 'a/b', '../..', 'tenant:', 'x'.repeat(600)])(
    'of a subject that does not exist (%j) is 409',
    async (subject) => {
      for (const code of ['kv_missing', 'kv_orphaned', 'host_counted', 'provisioning_stuck'])
        expectProblem(await fix(code, subject), 409, 'illegal_state')
      for (const code of ['database_of_nobody', 'branch_of_nobody', 'login_of_nobody', 'project_of_nobody'])
        expectProblem(await remove(code, subject, subject.slice(subject.indexOf('/') + 1)), 409, 'illegal_state')
    },
  )
})
