/** Threat: an operator corrects one field of a tenant and another is lost with it, or what was corrected is shown nowhere. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { master } from '../support/databases.ts'
import { call, login, makeTenant, operatorToken } from '../support/people.ts'
import { plantTenant } from '../support/planted.ts'
import { expectProblem } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant, makePlans } from '../support/tenants.ts'

let token: string
let id: string
beforeAll(async () => {
  token = await operatorToken()
  id = (await copyTenant('changed')).id
  await makePlans('gold', 'silver', 'one', 'two', 'audited')
})

const at = (tenant = id) => `/platform/v1/tenants/${tenant}`
const change = (body: unknown, more: Record<string, unknown> = {}) => call('', at(), { token, method: 'PATCH', body, ...more })
/** Without when it was asked. */
const show = async () => {
  const { body } = await call('', at(), { token })
  return { ...body, used: { ...body.used, as_of: null } }
}

describe('a tenant that is changed', () => {
  it('has what was said, and the rest as before', async () => {
    const before = await show()
    const fields = {
      legal_name: 'Changed and Sons',
      contact_name: 'Eve',
      admin_email: 'new@changed.test',
      plan: 'gold',
      environment: 'production',
    }
    const answer = await change(fields)
    expect([answer.status, answer.trips], JSON.stringify(answer.body)).toEqual([200, 1])
    const { updated_at: _, used: __, ...rest } = before
    expect(answer.body).toMatchObject({ ...rest, ...fields, is_demo: false })
    expect(await show()).toEqual({ ...answer.body, used: { ...answer.body.used, as_of: null } })
    for (const [name, value] of Object.entries({ plan: null, contact_name: null, legal_name: 'Changed' }))
      expect((await change({ [name]: value })).body).toMatchObject({
        ...fields,
        plan: null,
        ...(name === 'plan' ? {} : { contact_name: null }),
        [name]: value,
      })
    await change(fields)
  })

  it('is shown to its users under its new name', async () => {
    await makeTenant('changed-shown', {}, token)
    const [row] = await master(sql`select id from platform.tenants where subdomain = 'changed-shown'`)
    await call('', at(String(row?.id)), { token, method: 'PATCH', body: { legal_name: 'Shown and Daughters' } })
    const entry = await master(sql`select v = published_v as is_published from platform.tenants where id = ${row?.id}`)
    expect(entry).toEqual([{ is_published: true }])
    expect((await login('changed-shown')).token_type).toBe('Bearer')
  })

  it('keeps each of twenty changes of different fields that are made at once', async () => {
    const bodies = [
      { legal_name: 'At once' },
      { contact_name: 'Trent' },
      { plan: 'silver' },
      { environment: 'demo' },
      { admin_email: 'once@changed.test' },
    ]
    const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => change(bodies[i % bodies.length])))
    expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200))
    expect(await show()).toMatchObject(Object.assign({}, ...bodies))
  })

  it('is changed under a condition by its entity tag', async () => {
    const tag = (await call('', at(), { token })).headers.get('ETag') ?? ''
    expect((await change({ plan: 'one' }, { headers: { 'If-Match': tag } })).status).toBe(200)
    expectProblem(await change({ plan: 'two' }, { headers: { 'If-Match': tag } }), 412, 'etag_mismatch')
    expect((await show()).plan).toBe('one')
  })

  it('is in the audit with who changed what', async () => {
    await change({ plan: 'audited' })
    const rows = await master(
      sql`select l.user_id is not null as by_somebody, d.after ->> 'plan' as plan from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id
          where l.resource_id = ${id} and l.action = 'update' order by l.at desc limit 1`,
    )
    expect(rows).toEqual([{ by_somebody: true, plan: 'audited' }])
  })

  it.each<[unknown, string]>([
    [{ legal_name: '' }, '#/legal_name'],
    [{ legal_name: null }, '#/legal_name'],
    [{ legal_name: 'x'.repeat(256) }, '#/legal_name'],
    [{ admin_email: 'nobody' }, '#/admin_email'],
    [{ plan: 'Gold Plan' }, '#/plan'],
    [{ environment: 'staging' }, '#/environment'],
    [{ environment: null }, '#/environment'],
    [{ status: 'active' }, '#/status'],
    [{ subdomain: 'Other' }, '#/subdomain'],
    [{ contact_name: 7 }, '#/contact_name'],
  ])('is not changed by %j', async (body, pointer) => {
    const before = await show()
    const answer = await change(body)
    expectProblem(answer, 400, 'invalid_request')
    expect(answer.body.errors[0].pointer).toBe(pointer)
    expect(await show()).toEqual(before)
  })

  it('is not changed while it is created, nor by who may not', async () => {
    const making = await plantTenant('changed-making', 'provisioning')
    expectProblem(await call('', at(making), { token, method: 'PATCH', body: { plan: 'x' } }), 409, 'illegal_state')
    expectProblem(await call('', at(), { method: 'PATCH', body: { plan: 'x' } }), 401, 'token_missing')
    const theirs = await tokenOf('changed', 'bo')
    expect((await call('', at(), { token: theirs, method: 'PATCH', body: { plan: 'x' } })).status).toBe(401)
    expectProblem(await call('', at(crypto.randomUUID()), { token, method: 'PATCH', body: { plan: 'x' } }), 404, 'not_found')
  })
})
