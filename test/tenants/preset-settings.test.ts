/** Threat: rules that one document asks of one laboratory are everybody's, or a laboratory's tenant does not have them. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { batch } from '../../src/kernel/db.ts'
import { DEFAULT_POLICY } from '../../src/passwords/policy.ts'
import { lims } from '../../src/presets/lims.ts'
import { seed } from '../../src/tenants/provisioning/seed.ts'
import { databaseOf } from '../support/databases.ts'
import { addPerson, inside } from '../support/inside.ts'
import { call, login, makeTenant, operatorToken, wanted } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'

const OUTSIDE = ['Correct-Horse-7-Battery', 'Correct-horse-7', 'Str0ng-Horse-77!', 'First-Pw-123!x', 'Orchid-Mango-42!']
const GUESSED = ['Summer-2026!', 'Winter2026!', 'Administrator-1', 'P@ssw0rd2026!', 'Freehold-2026!']
let operator: string

beforeAll(async () => {
  operator = await operatorToken()
  await makeTenant('by-nothing', { legal_name: 'Harbour Trading' }, operator)
  await makeTenant('by-lims', { role_preset: 'lims', legal_name: 'Harbour Trading' }, operator)
})

const settingsOf = async (at: string) =>
  (await call(at, '/api/v1/settings', { token: (await login(at)).access_token })).body as Record<string, unknown>
const create = (body: object) => call('', '/platform/v1/tenants', { token: operator, body, headers: { Prefer: 'wait=30' } })
const details = ({ body }: { body: { errors?: { detail: string }[] } }) => body.errors?.map(({ detail }) => detail)

/** Changes the password of somebody new to each of these, one after another; what each was answered. */
async function tried(at: string, username: string, passwords: string[]) {
  const realm = await inside(at)
  const person = await addPerson(realm, username, at === 'by-lims' ? { roles: ['customer'] } : {})
  let current = person.password
  const answers: [string, number][] = []
  for (const next of passwords) {
    const { access_token } = await login(at, { body: { username, password: current } })
    const body = { current_password: current, new_password: next }
    const { status } = await call(at, '/api/v1/auth/password-change', { token: access_token, body })
    answers.push([next, status])
    if (status === 204) current = next
  }
  return answers
}

describe('a tenant of the preset lims', () => {
  it('has the rules of its document from the first day', async () => {
    expect(await settingsOf('by-lims')).toMatchObject(lims.settings ?? {})
  })

  it('asks for all four kinds of characters, of which 8 are enough', async () => {
    const { access_token: token } = await login('by-lims')
    const rules = (password: string) => call('by-lims', '/api/v1/users', { token, body: { email: 'cy@people.test', password } })
    expect(details(await rules('kettle'))).toEqual([
      'must have at least 8 characters',
      'must have an upper case letter',
      'must have a digit',
      'must have a character that is neither letter nor digit',
      'must have at least 5 different characters',
    ])
    expect((await rules('Ke-77tle')).status).toBe(201)
  })

  it('ends passwords after 90 days, of which it warns 14 days ahead', async () => {
    const realm = await inside('by-lims')
    await addPerson(realm, 'old', { roles: ['customer'] })
    const said = async (days: number) => {
      await realm.asOwner(
        sql`update freehold.users set password_changed_at = now() - make_interval(days => ${days}) where username = 'old'`,
      )
      const { must_change_password, password_expires_soon } = await login('by-lims', {
        body: { username: 'old', password: 'Violet-Anchor-38' },
      })
      return [must_change_password, password_expires_soon]
    }
    expect([await said(75), await said(77), await said(91)]).toEqual([
      [false, false],
      [false, true],
      [true, true],
    ])
  })

  it('takes and refuses what every tenant does', async () => {
    expect(await tried('by-lims', 'dee', OUTSIDE)).toEqual(OUTSIDE.map((password) => [password, 204]))
    const guessed = [...GUESSED, 'By-lims-2026!']
    expect(await tried('by-lims', 'eli', guessed)).toEqual(guessed.map((password) => [password, 400]))
  })
})

describe('a tenant of no such preset', () => {
  it('asks for 12 characters, whatever they are, and never for another', async () => {
    expect(await settingsOf('by-nothing')).toMatchObject({ ...DEFAULT_POLICY, password_days: 0 })
    const taken = ['correcthorsebatterystaplexx', 'Correct horse battery staple', 'marblekettle']
    expect(await tried('by-nothing', 'cal', taken)).toEqual(taken.map((password) => [password, 204]))
    expect(await tried('by-nothing', 'gus', ['marblekettl'])).toEqual([['marblekettl', 400]])
  })

  it('takes and refuses what every tenant does', async () => {
    expect(await tried('by-nothing', 'dee', OUTSIDE)).toEqual(OUTSIDE.map((password) => [password, 204]))
    const guessed = [...GUESSED, 'By-nothing-2026!', 'Harbour-Trading-1']
    expect(await tried('by-nothing', 'eli', guessed)).toEqual(guessed.map((password) => [password, 400]))
  })
})

describe('the first administrator', () => {
  it('has a password by the rules of the preset, of which the name of the tenant is no part', async () => {
    const names = { subdomain: 'by-names', legal_name: 'Copper Lantern' }
    for (const [role_preset, admin_password, said] of [
      ['minimal', 'Ke-77tle', 'must have at least 12 characters'],
      ['lims', 'kettle-77', 'must have an upper case letter'],
      ['minimal', 'By-Names-2026', 'must not be made of names'],
      ['lims', 'Copper-Lantern-1', 'must not be made of names'],
    ]) {
      const answer = await create({ ...wanted('by-names'), ...names, role_preset, admin_password })
      expectProblem(answer, 400, 'invalid_request')
      expect(details(answer)).toEqual([expect.stringContaining(said ?? '')])
    }
  })
})

it('what was changed since is left alone when the step that sets them is tried again', async () => {
  const { access_token: token } = await login('by-lims')
  const body = { password_min_length: 10, password_days: 30, password_grant: false }
  expect((await call('by-lims', '/api/v1/settings', { token, method: 'PATCH', body })).status).toBe(200)
  const { id, owner_url } = await databaseOf('by-lims')
  await batch(owner_url, seed({ id, subdomain: 'by-lims' }, lims))
  expect(await settingsOf('by-lims')).toMatchObject({ ...lims.settings, ...body })
})
