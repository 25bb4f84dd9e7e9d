/** Threat: an operator corrects one field of a tenant and another is lost with it, or what was corrected is shown nowhere. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { master } from '../support/databases.ts'
import { call, login, makeTenant, newRuc, operatorToken } from '../support/people.ts'
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

  it('has another tax id and country, which are checked as those of a new tenant', async () => {
    const [ruc, other] = [newRuc(), newRuc()]
    const [nif, short] = [`B-${newRuc()}`, `B${newRuc().slice(2, 9)}`]
    const of = async (body: object) => {
      const { status, body: answer } = await change(body)
      return [status, answer.country, answer.tax_id]
    }
    expect(await of({ tax_id: null, country: null })).toEqual([200, null, null])
    expect(await of({ tax_id: ruc })).toEqual([200, 'PE', ruc])
    expect(await of({ tax_id: other })).toEqual([200, 'PE', other])
    expect(await of({ tax_id: nif, country: 'ES' })).toEqual([200, 'ES', nif])
    expect(await of({ tax_id: short })).toEqual([200, 'ES', short])
    expect(await of({ country: 'ES' })).toEqual([200, 'ES', short])
    expect(await of({ tax_id: null })).toEqual([200, 'ES', null])
    expect(await of({ country: 'CL' })).toEqual([200, 'CL', null])
    expect(await of({ tax_id: ruc, country: 'PE' })).toEqual([200, 'PE', ruc])
    expect((await show()).tax_id).toBe(ruc)
  })

  it('has no tax id of another tenant, also when twenty ask for one at once', async () => {
    const [mine, taken, wanted] = [newRuc(), newRuc(), newRuc()]
    await change({ tax_id: mine, country: 'PE' })
    const others = await Promise.all([0, 1].map((i) => plantTenant(`changed-taxed-${i}`, 'failed')))
    const patch = (whose: string, tax_id: string) => call('', at(whose), { token, method: 'PATCH', body: { tax_id } })
    await master(sql`update platform.tenants set tax_id = ${taken}, country = 'PE' where id = ${others[0]}`)
    const refused = await change({ tax_id: taken })
    expectProblem(refused, 409, 'tax_id_taken')
    expect(refused.body.detail).toBe(`A tenant with the tax id ${taken} exists already.`)
    expect((await show()).tax_id).toBe(mine)
    // In another country it is another one.
    expect((await change({ tax_id: taken, country: 'CL' })).status).toBe(200)
    const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => patch(i % 2 ? id : String(others[1]), wanted)))
    const [row] = await master(
      sql`select count(*)::integer as n from platform.tenants where tax_id = ${wanted} and country = 'PE'`,
    )
    expect(row?.n).toBe(1)
    expect(answers.filter(({ status }) => status !== 200 && status !== 409)).toEqual([])
  })

  it.each<[object, object, string, string]>([
    [{ tax_id: null, country: null }, { tax_id: '20100070971' }, '#/tax_id', 'has a wrong check digit (RUC)'],
    [{ tax_id: null, country: 'PE' }, { tax_id: '2010007097' }, '#/tax_id', 'must have 11 digits (RUC)'],
    [{ tax_id: null, country: 'ES' }, { tax_id: 'B-1', country: 'PE' }, '#/tax_id', 'must have 11 digits (RUC)'],
    [
      { tax_id: 'B-2', country: 'ES' },
      { country: 'PE' },
      '#/country',
      'cannot be changed by itself: the tax id of the tenant is of its country, so give tax_id as well',
    ],
    [
      { tax_id: 'B-2', country: 'ES' },
      { country: null },
      '#/country',
      'cannot be changed by itself: the tax id of the tenant is of its country, so give tax_id as well',
    ],
    [{ tax_id: null, country: null }, { tax_id: 'B-3', country: null }, '#/country', 'must be given with a tax id'],
  ])('of which is known %j is not changed by %j', async (known, body, pointer, detail) => {
    expect((await change(known)).status).toBe(200)
    const answer = await change(body)
    expectProblem(answer, 400, 'invalid_request')
    expect(answer.body.errors).toEqual([{ pointer, detail }])
    expect(await show()).toMatchObject(known)
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
    [{ tax_id: '' }, '#/tax_id'],
    [{ tax_id: '١٢٣' }, '#/tax_id'],
    [{ tax_id: 'x'.repeat(33) }, '#/tax_id'],
    [{ tax_id: 20100070970 }, '#/tax_id'],
    [{ country: 'Peru' }, '#/country'],
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
