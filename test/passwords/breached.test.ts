/** Threat: a password of a breach is taken; or the list of them learns a password, or keeps people from changing theirs. */
import { beforeAll, describe, expect, inject, it, vi } from 'vitest'
import { addPerson, type Inside, inside } from '../support/inside.ts'
import { call } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { secretOf } from '../support/secrets.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

const AT = 'breach-list'
const { url, passwords } = inject('breached')
const [LISTED = '', ACCENTED = ''] = passwords
const BREACHED = 'must not be one that is known from a breach of another service'
let realm: Inside
let admin: string

beforeAll(async () => {
  await copyTenant(AT)
  realm = await inside(AT)
  admin = await tokenOf(AT)
  await set({ password_breached: true, registration: true })
})

const set = async (patch: object) =>
  expect((await call(AT, '/api/v1/settings', { token: admin, method: 'PATCH', body: patch })).status).toBe(200)
const listAt = (mode: string) => ({ settings: { PWNED_PASSWORDS_URL: `${url}/${mode}/` } })
const post = (path: string, body: unknown, mode = 'listed', token?: string) =>
  call(AT, `/api/v1${path}`, { body, ...(token && { token }), ...listAt(mode) })
const asked = async () =>
  (await (await fetch(`${url}/asked`)).json()) as { path: string; padding: unknown; headers: string; body: string }[]
const details = ({ body }: { body: { errors?: { detail: string }[] } }) => body.errors?.map(({ detail }) => detail)
/** Somebody new, and a change of their password. */
async function changing(username: string) {
  const { password } = await addPerson(realm, username)
  const token = await tokenOf(AT, username)
  return (new_password: string, mode?: string) =>
    post('/auth/password-change', { current_password: password, new_password }, mode, token)
}

describe('a password that is in the list of breached ones', () => {
  it('is refused when it is changed, in either form of its accents', async () => {
    const change = await changing('abe')
    for (const password of [LISTED, ACCENTED, ACCENTED.normalize('NFD')]) {
      const answer = await change(password)
      expectProblem(answer, 400, 'invalid_request')
      expect(details(answer)).toEqual([BREACHED])
    }
    expect((await change('Velvet-Comet-4472')).status).toBe(204)
  })

  it('is refused when a link sets it, an administrator does, somebody registers, and a user is made with it', async () => {
    const bea = await addPerson(realm, 'bea')
    await call(AT, '/api/v1/auth/password-reset', { body: { email: bea.email } })
    const token = await secretOf(realm, 'password_reset', bea.email)
    const email = 'leaky@people.test'
    await post('/auth/register', { email, password: 'Velvet-Comet-4472' })
    const proof = await secretOf(realm, 'register', email)
    for (const [path, body, bearer] of [
      ['/auth/password-reset/confirm', { token, new_password: LISTED }],
      [`/users/${bea.id}/reset-password`, { new_password: LISTED }, admin],
      ['/auth/register', { email: 'leaky-too@people.test', password: LISTED }],
      ['/auth/verify-email', { token: proof, new_password: LISTED }],
      ['/users', { email: 'made@people.test', password: LISTED }, admin],
    ] as [string, object, string?][]) {
      const answer = await post(path, body, 'listed', bearer)
      expectProblem(answer, 400, 'invalid_request')
      expect(details(answer), path).toEqual([BREACHED])
    }
  })

  it('is looked up by the first five digits of its hash, with padding, and nothing else of it leaves', async () => {
    const change = await changing('cal')
    const before = (await asked()).length
    expect((await change(LISTED)).status).toBe(400)
    const [request, ...more] = (await asked()).slice(before).filter(({ path }) => path.startsWith('/listed/'))
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-1', new TextEncoder().encode(LISTED)))
    const hash = [...digest].map((byte) => byte.toString(16).padStart(2, '0')).join('')
    expect(more).toEqual([])
    expect(request).toMatchObject({ path: `/listed/${hash.slice(0, 5).toUpperCase()}`, padding: 'true', body: '' })
    const all = JSON.stringify(request).toLowerCase()
    for (const secret of [LISTED.toLowerCase(), hash.slice(5, 12), 'cal', AT]) expect(all).not.toContain(secret)
  })

  it('is padding where its count is 0', async () => {
    expect((await (await changing('dee'))(LISTED, 'padded')).status).toBe(204)
  })

  it('is not looked up where the tenant does not say so, when it breaks another rule, or when it was generated', async () => {
    const change = await changing('eli')
    const before = (await asked()).length
    expect(details(await change('short'))).not.toContain(BREACHED)
    expect((await post('/users', { email: 'generated@people.test' }, 'listed', admin)).status).toBe(201)
    await set({ password_breached: false })
    expect((await change(LISTED)).status).toBe(204)
    await set({ password_breached: true })
    expect((await asked()).length).toBe(before)
  })
})

describe('a list that does not answer', () => {
  it.each([
    ['broken', 'answered 500'],
    ['moved', 'answered 302'],
    ['endless', 'more than'],
    ['late', ''],
  ])(
    'as it should (%s) keeps nobody from a new password, and the log says so under the trace id of the change',
    async (mode, why) => {
      const change = await changing(`fay-${mode}`)
      const told: string[] = []
      const spy = vi.spyOn(console, 'log').mockImplementation((line: unknown) => void told.push(String(line)))
      const from = Date.now()
      const answer = await change(LISTED, mode)
      spy.mockRestore()
      expect(answer.status).toBe(204)
      expect(Date.now() - from).toBeLessThan(4_500)
      const lines = told.map((line) => JSON.parse(line)).filter(({ event }) => event === 'breached passwords not asked')
      expect(lines).toMatchObject([
        { tenant: AT, trace_id: answer.headers.get('X-Trace-Id'), detail: expect.stringContaining(why) },
      ])
      expect(told.join('\n')).not.toContain(LISTED)
    },
  )

  it('is one that nobody listens at, too', async () => {
    const settings = { PWNED_PASSWORDS_URL: 'http://127.0.0.1:1/range/' }
    const { password } = await addPerson(realm, 'gus')
    const body = { current_password: password, new_password: LISTED }
    const token = await tokenOf(AT, 'gus')
    expect((await call(AT, '/api/v1/auth/password-change', { body, token, settings })).status).toBe(204)
  })
})
