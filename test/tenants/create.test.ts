import { createExecutionContext } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import { app } from '../../src/app.ts'
import { tenantMigrations } from '../../src/tenants/provisioning/bundled.ts'
import { ADMIN, call, login, makeTenant, operatorToken, wanted } from '../support/people.ts'
import { makePlans } from '../support/tenants.ts'

const STEPS = [
  'reserve',
  'place',
  'database',
  'operations',
  'logins',
  'migrate',
  'seed',
  'administrator',
  'signing_key',
  'prove',
  'publish',
  'activate',
]

let token: string
beforeAll(async () => {
  token = await operatorToken()
  await makePlans('gold')
})

const create = (body: Record<string, unknown>, headers: Record<string, string> = {}) =>
  call('', '/platform/v1/tenants', { token, headers, body })

describe('making a tenant', () => {
  it('ends with an administrator who can log in on the tenant’s own host', async () => {
    const tenant = await makeTenant('made', {}, token)
    expect(tenant).toMatchObject({
      subdomain: 'made',
      status: 'active',
      is_active: true,
      url: 'http://made.freehold.test',
      database_name: 'freehold_made',
    })
    expect(tenant.initial_admin).toEqual({ email: ADMIN.email, must_change_password: false })
    const answer = await login('made')
    expect(answer).toMatchObject({ token_type: 'Bearer', must_change_password: false })
  })

  it('answers 201 to Prefer: wait, with the whole tenant and its defaults', async () => {
    const body = wanted('whole')
    const answer = await create(body, { Prefer: 'respond-async, wait=30' })
    expect(answer.status, JSON.stringify(answer.body)).toBe(201)
    const { id, created_at, updated_at, initial_admin, ...rest } = answer.body
    expect(rest).toEqual({
      subdomain: 'whole',
      url: 'http://whole.freehold.test',
      legal_name: 'whole S.A.C.',
      tax_id: body.tax_id,
      country: 'PE',
      region: 'aws-us-east-2',
      admin_email: ADMIN.email,
      contact_name: null,
      plan: null,
      environment: 'production',
      is_demo: false,
      status: 'active',
      is_active: true,
      isolation: 'database',
      role_preset: 'minimal',
      database_name: 'freehold_whole',
      limits: {},
      effective_limits: {},
      used: { users: 1, as_of: null },
      user_limit_reached: false,
      limits_exceeded: [],
      license: null,
      is_applied: true,
      config: {},
      schema_version: tenantMigrations.at(-1)?.name,
      former_subdomains: [],
      database_error: null,
      deleted_at: null,
    })
    expect(id).toMatch(/^[0-9a-f-]{36}$/)
    expect(created_at).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z$/)
    expect(updated_at >= created_at).toBe(true)
    expect(answer.headers.get('Location')).toBe(`/platform/v1/tenants/${id}`)
    const { initial_admin: _, used, ...shown } = answer.body
    const seen = (await call('', `/platform/v1/tenants/${id}`, { token })).body
    expect([seen, used.as_of]).toEqual([
      { ...shown, used: expect.objectContaining({ users: 1, as_of: expect.any(String) }) },
      null,
    ])
    expect(initial_admin).toEqual({ email: ADMIN.email, must_change_password: false })
  })

  it('takes what it is given, cleaned', async () => {
    const more = {
      tax_id: 'B-12345678',
      country: 'ES',
      plan: 'gold',
      environment: 'demo',
      contact_name: '  Ñandú García ',
      admin_email: 'Ada.Byron@ACME.Test',
      legal_name: ' Überseehafen & Söhne ',
    }
    const tenant = await makeTenant('given', more, token)
    expect(tenant).toMatchObject({
      ...more,
      contact_name: 'Ñandú García',
      admin_email: 'ada.byron@acme.test',
      legal_name: 'Überseehafen & Söhne',
      is_demo: true,
    })
    expect(
      (await login('given', { body: { email: 'ada.byron@acme.test', password: ADMIN.password } })).must_change_password,
    ).toBe(false)
  })

  it('needs neither tax id nor country, which any number of tenants may lack', async () => {
    for (const name of ['taxless', 'taxless-too']) {
      const { tax_id: _, ...body } = wanted(name)
      expect((await create(body)).body, name).toMatchObject({ tax_id: null, country: null })
    }
    const { tax_id, ...body } = wanted('taxless-here', { country: 'CL' })
    expect((await create(body)).body).toMatchObject({ tax_id: null, country: 'CL' })
    expect((await create({ ...wanted('tax-of-peru'), tax_id })).body).toMatchObject({ tax_id, country: 'PE' })
    const again = await create({ ...wanted('tax-of-peru-too'), tax_id })
    expect([again.status, again.body.code]).toEqual([409, 'tax_id_taken'])
    expect((await create({ ...wanted('tax-of-chile', { country: 'CL' }), tax_id })).body).toMatchObject({ tax_id, country: 'CL' })
  })

  it('checks a tax id that it is given as one of its country, and of Peru without one', async () => {
    for (const more of [
      { tax_id: '20100070971' },
      { tax_id: '20100070971', country: 'PE' },
      { tax_id: '' },
      { tax_id: null },
      { tax_id: 7 },
    ]) {
      const answer = await create({ ...wanted('tax-wrong'), ...more })
      expect([answer.status, answer.body.errors?.[0]?.pointer], JSON.stringify(more)).toEqual([400, '#/tax_id'])
    }
  })

  it('never repeats a password that it was given, and shows a generated one once', async () => {
    const given = await create(wanted('secretive'), { Prefer: 'wait=30' })
    expect(JSON.stringify(given.body)).not.toContain(ADMIN.password)
    const generated = await create(wanted('generated', { admin_password: undefined }), { Prefer: 'wait=30' })
    const { email, password, must_change_password } = generated.body.initial_admin
    expect({ email, must_change_password }).toEqual({ email: ADMIN.email, must_change_password: true })
    expect(password).toMatch(/^(?=.*[A-Z])(?=.*[a-z])(?=.*\d)(?=.*[-_.!+]).{20}$/)
    const shown = await call('', `/platform/v1/tenants/${generated.body.id}`, { token })
    expect(JSON.stringify(shown.body)).not.toMatch(/password|initial_admin|encrypted|_url/)
  })

  it('asks for another password at the first login with a generated one', async () => {
    const made = await create(wanted('first-login', { admin_password: undefined }), { Prefer: 'wait=30' })
    const { email, password } = made.body.initial_admin
    const session = await login('first-login', { body: { email, password } })
    expect(session.must_change_password).toBe(true)
    const refused = await call('first-login', '/api/v1/auth/whoami', { token: session.access_token })
    expect([refused.status, refused.body.code]).toEqual([403, 'password_change_required'])
    const body = { current_password: password, new_password: 'Violet-Anchor-38' }
    expect((await call('first-login', '/api/v1/auth/password-change', { token: session.access_token, body })).status).toBe(204)
    expect((await call('first-login', '/api/v1/auth/whoami', { token: session.access_token })).status).toBe(200)
  })

  it('answers 202 to who does not wait, and shows each step until all are done, in order', async () => {
    const answer = await create(wanted('stepwise'))
    expect(answer.status).toBe(202)
    expect(answer.body).toMatchObject({
      status: 'provisioning',
      is_active: false,
      schema_version: null,
      initial_admin: { email: ADMIN.email },
    })
    const location = `/platform/v1/tenants/${answer.body.id}/provisioning`
    expect(answer.headers.get('Location')).toBe(location)
    let shown = await call('', location, { token })
    expect(shown.body.data.map((step: any) => step.name)).toEqual(STEPS)
    const isDone = () => shown.body.data.every((step: any) => step.state === 'done')
    for (let i = 0; i < 300 && !isDone(); i++) {
      const states: string[] = shown.body.data.map((step: any) => step.state)
      expect(states.join(' ')).toMatch(/^(done ?)*(running ?)?(pending ?)*$/)
      await scheduler.wait(50)
      shown = await call('', location, { token })
    }
    expect(shown.body).toMatchObject({ status: 'active', next_cursor: null })
    let before = ''
    for (const step of shown.body.data) {
      expect(Object.keys(step).sort()).toEqual(['attempts', 'error', 'finished_at', 'name', 'started_at', 'state', 'trace_id'])
      expect(step).toMatchObject({
        state: 'done',
        error: null,
        trace_id: expect.stringMatching(/^[0-9a-f]{32}$/),
        attempts: step.name === 'reserve' ? 0 : 1,
      })
      expect(step.started_at >= before && step.finished_at >= step.started_at, step.name).toBe(true)
      before = step.finished_at
    }
  })

  it('does not wait longer than it is told', async () => {
    const answer = await create(wanted('impatient'), { Prefer: 'wait=0' })
    expect(answer.status).toBe(202)
  })

  it('waits by the clock: what everything else takes counts, too', async () => {
    const now = Date.now()
    let asked = 0
    // A second passes whenever somebody looks at the clock, as on a machine that has much else to do.
    vi.spyOn(Date, 'now').mockImplementation(() => now + 1000 * asked++)
    const answer = await app.fetch(
      new Request('http://freehold.test/platform/v1/tenants', {
        method: 'POST',
        headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json', Prefer: 'wait=45' },
        body: JSON.stringify(wanted('overloaded')),
      }),
      // Nobody provisions it.
      { ...env, PROVISIONING: { create: async () => undefined } as unknown as typeof env.PROVISIONING },
      createExecutionContext(),
    )
    vi.restoreAllMocks()
    expect(answer.status).toBe(202)
    const { id } = (await answer.json()) as { id: string }
    expect(answer.headers.get('Location')).toBe(`/platform/v1/tenants/${id}/provisioning`)
    expect(asked).toBeLessThan(300)
  })

  it('has no steps to show of a tenant that nobody made', async () => {
    const answer = await call('', `/platform/v1/tenants/${crypto.randomUUID()}/provisioning`, { token })
    expect([answer.status, answer.body.code]).toEqual([404, 'not_found'])
  })
})
