/** A key that Neon refuses is found when the platform is started, by the name of its setting, and not with the first tenant. */
import { env } from 'cloudflare:workers'
import { expect, it } from 'vitest'
import { accountsOf } from '../../src/tenants/provisioning/accounts.ts'
import { settings } from '../support/databases.ts'
import { call } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'

/** The local Neon's personal key. */
const NEON_API_KEY = `${env.NEON_API_KEY}personal`
const ready = (settings: Record<string, string>, language = 'en') =>
  call('', '/readyz', { settings, headers: { 'Accept-Language': language } })

it('a personal key without NEON_ORG_ID is said by name in /readyz, each time', async () => {
  for (let i = 0; i < 2; i++) {
    const answer = await ready({ NEON_API_KEY })
    expectProblem(answer, 503, 'no_capacity')
    expect(answer.body.detail).toBe('NEON_API_KEY is a personal key, which needs NEON_ORG_ID: set the id of the organization.')
  }
  expect((await ready({ NEON_API_KEY }, 'es')).body.detail).toContain('NEON_API_KEY es una clave personal')
})

it('a key that Neon does not know, too', async () => {
  expect((await ready({ NEON_API_KEY: 'napi_x' })).body.detail).toBe(
    'Neon does not accept NEON_API_KEY: set a key that is valid.',
  )
})

it('a personal key with NEON_ORG_ID, an organization’s without, and a Neon that does not answer are ready', async () => {
  const right: Record<string, string>[] = [
    { NEON_API_KEY, NEON_ORG_ID: 'org-quiet-art-12345678' },
    {},
    { NEON_API_KEY, NEON_API_URL: 'http://127.0.0.1:9/api/v2' },
  ]
  for (const settings of right) expect((await ready(settings)).status).toBe(200)
})

it('of further accounts each is said by its name', async () => {
  const second = (more: object) => ({ NEON_ACCOUNTS: JSON.stringify([{ name: 'second', api_key: env.NEON_API_KEY, ...more }]) })
  expect((await ready(second({}))).status).toBe(200)
  const refused = await ready(second({ api_key: 'napi_x' }))
  expectProblem(refused, 503, 'no_capacity')
  expect(refused.body.detail).toBe('Neon does not accept the key for second in NEON_ACCOUNTS: set a key that is valid.')
  const personal = second({ api_key: NEON_API_KEY })
  expect((await ready(personal)).body.detail).toBe(
    'NEON_ACCOUNTS has a personal key for second, which needs org_id: set the id of the organization.',
  )
  expect((await ready(personal, 'es')).body.detail).toContain('una clave personal para second')
})

it('further accounts are JSON, each name and organization once', () => {
  const taken = (value: unknown) => () =>
    accountsOf({ ...settings(), NEON_ACCOUNTS: typeof value === 'string' ? value : JSON.stringify(value) }).slice(1)
  const second = { name: 'second', api_key: 'k' }
  const right = [second, { ...second, org_id: 'org-b' }, { name: 'default', api_key: 'k', org_id: 'org-c' }]
  expect(taken(right)()).toEqual(right)
  const wrong = ['{', 'null', '{}', ['second'], [{ name: 'second' }], [{ ...second, api_key: '' }], [{ ...second, name: 'Two' }]]
  for (const value of [...wrong, [second, second], [{ ...second, organization: 'x' }], [{ ...second, org_id: '../x' }]])
    expect(taken(value), JSON.stringify(value)).toThrow('Wrong settings: NEON_ACCOUNTS must be JSON: ')
})
