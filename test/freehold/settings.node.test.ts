/** The commands on settings, sessions and one's own password, against the API. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startWithTenant, type WithTenant } from './one-tenant.ts'

const TENANT = 'settings-cli'
const BO = 'bo@settings-cli.test'
let on: WithTenant

beforeAll(async () => {
  on = await startWithTenant(TENANT)
})
afterAll(() => on?.stop())

const refused = (sentence: string) => ({ code: 1, stdout: '', stderr: `error: ${sentence}\n` })

describe('settings', () => {
  test('get shows all, some, or the value of one', async () => {
    const { body } = await on.ask('GET', '/settings', { token: on.tokens.bo, tenant: TENANT })
    expect(JSON.parse((await on.bo('settings', 'get', '--json')).stdout)).toEqual(body)
    expect((await on.bo('settings', 'get', 'session_days')).stdout).toBe(`${body.session_days}\n`)
    expect((await on.bo('settings', 'get')).stdout).toMatch(/^SETTING +VALUE\n(.*\n)*registration_domains +none\n/)
    expect((await on.ada('settings', 'get', 'idle_minutes', 'registration')).stdout).toMatch(
      /^SETTING +VALUE\nidle_minutes +\S+\nregistration +false\n$/,
    )
  })

  test('set takes each value as the kind that the setting has, and shows what changed', async () => {
    const given = [
      'session_days=21',
      'registration=true',
      'registration_domains=["acme.com","acme.net"]',
      'registration_role=user',
    ]
    const { code, stdout } = await on.bo('settings', 'set', ...given)
    expect([code, stdout]).toEqual([0, expect.stringMatching(/^SETTING +BEFORE +NOW\n/)])
    expect(stdout).toMatch(/\nsession_days +\d+ +21\n/)
    expect(stdout).toMatch(/\nregistration_domains +none +acme\.com acme\.net\n/)
    const { body } = await on.ask('GET', '/settings', { token: on.tokens.bo, tenant: TENANT })
    expect(body).toMatchObject({
      session_days: 21,
      registration: true,
      registration_domains: ['acme.com', 'acme.net'],
      registration_role: 'user',
    })
    expect(JSON.parse((await on.bo('settings', 'set', 'registration_role=null', '--json')).stdout).registration_role).toBeNull()
    expect((await on.bo('settings', 'set', 'idle_minutes=60', '--json')).stdout).toContain('"idle_minutes": 60')
    expect(await on.bo('settings', 'set', 'session_days=21')).toEqual({ code: 0, stdout: '', stderr: 'They are so already.\n' })
  })

  test.for([
    ['session_day=5', 'There is no setting session_day: see freehold settings get.'],
    ['session_days', 'session_days is not of the form setting=value.'],
    ['session_days=many', 'session_days must be a number: many is not.'],
    ['registration=yes', 'registration must be true or false: yes is not.'],
    ['registration_domains=acme.com', 'registration_domains must be a list as JSON, such as ["a","b"]: acme.com is not.'],
  ])('set %s is refused, and nothing changes', async ([given = '', sentence = '']) => {
    expect(await on.bo('settings', 'set', 'lock_minutes=7', given)).toEqual(refused(sentence))
    expect((await on.bo('settings', 'get', 'lock_minutes')).stdout).not.toBe('7\n')
  })

  test('what the API refuses is told with the field', async () => {
    const { code, stderr } = await on.bo('settings', 'set', 'session_days=1000')
    expect([code, stderr]).toEqual([1, expect.stringMatching(/\n {2}#\/session_days: /)])
    expect(await on.bo('settings', 'get', 'nothing')).toEqual(refused('There is no setting nothing: see freehold settings get.'))
  })
})

describe('sessions', () => {
  test('list shows the sessions of a user, and end one of them', async () => {
    await on.login(BO, 'Correct-horse-7', TENANT)
    const { data } = JSON.parse((await on.bo('sessions', 'list', '--json')).stdout)
    expect(data.map(({ is_current }: { is_current: boolean }) => is_current)).toEqual([false, true])
    const asked = await on.bo('sessions', 'end', data[0].id)
    expect([asked.code, asked.stderr]).toEqual([1, expect.stringContaining('Repeat it with --yes.')])
    expect(await on.bo('sessions', 'end', data[0].id, '--yes')).toEqual({
      code: 0,
      stdout: '',
      stderr: `The session ${data[0].id} is ended.\n`,
    })
    expect((await on.bo('sessions', 'list')).stdout).toMatch(/^SESSION .*\n\S+ .* yes +\S.*\n$/)
    const again = await on.bo('sessions', 'end', data[0].id, '--yes')
    expect([again.code, again.stderr]).toEqual([1, expect.stringMatching(/^error: There is nothing here\./)])
  })

  test('end --user ends all of an operator', async () => {
    const { stdout } = await on.ada('operators', 'add', 'eve@freehold.test', '--json')
    const { body } = await on.login('eve@freehold.test', JSON.parse(stdout).initial_password)
    expect((await on.ada('sessions', 'list', '--user', 'eve@freehold.test')).stdout).toMatch(/^SESSION .*\n\S+ .* no +\S.*\n$/)
    const ended = await on.ada('sessions', 'end', '--user', 'eve@freehold.test', '--yes')
    expect(ended).toEqual({ code: 0, stdout: '', stderr: 'All sessions of eve@freehold.test are ended.\n' })
    expect((await on.ask('GET', '/auth/whoami', { token: body.access_token })).status).toBe(401)
    expect(await on.ada('sessions', 'end', '--user', 'x@freehold.test', '--yes')).toEqual(
      refused('There is no operator x@freehold.test.'),
    )
    expect((await on.ada('sessions', 'end')).code).toBe(2)
  })
})

describe('password', () => {
  const first = async (email: string) => JSON.parse((await on.bo('users', 'create', email, '--json')).stdout).initial_password

  test('changes a first one, with which nothing else can be done', async () => {
    const env = { FREEHOLD_TENANT_EMAIL: 'ann@settings-cli.test', FREEHOLD_TENANT_PASSWORD: await first('ann@settings-cli.test') }
    const elsewhere = await on.as(env, 'sessions', 'list', '--tenant', TENANT)
    expect([elsewhere.code, elsewhere.stderr]).toEqual([1, expect.stringContaining('must change the password first')])
    const changed = await on.as({ ...env, FREEHOLD_NEW_PASSWORD: 'Quiet-harbour-31' }, 'password', '--tenant', TENANT)
    expect(changed).toEqual({
      code: 0,
      stdout: '',
      stderr:
        'The password is changed, and your other sessions have ended.\nThe former one is still in FREEHOLD_TENANT_EMAIL and FREEHOLD_TENANT_PASSWORD.\n',
    })
    const mine = { ...env, FREEHOLD_TENANT_PASSWORD: 'Quiet-harbour-31' }
    expect((await on.as(mine, 'sessions', 'list', '--tenant', TENANT, '--json')).code).toBe(0)
  })

  test('with a token takes the password of now from the environment, and says when it is wrong', async () => {
    const env = { FREEHOLD_TENANT_TOKEN: on.tokens.bo, FREEHOLD_NEW_PASSWORD: 'Quiet-harbour-32' }
    const wrong = await on.as({ ...env, FREEHOLD_CURRENT_PASSWORD: 'wrong' }, 'password', '--tenant', TENANT, '--json')
    expect([wrong.code, JSON.parse(wrong.stdout).code]).toEqual([1, 'invalid_credentials'])
    const none = await on.as(env, 'password', '--tenant', TENANT)
    expect(none).toEqual(refused('There is no terminal to ask on: set FREEHOLD_CURRENT_PASSWORD.'))
    const right = await on.as({ ...env, FREEHOLD_CURRENT_PASSWORD: 'Correct-horse-7' }, 'password', '--tenant', TENANT)
    expect(right).toEqual({ code: 0, stdout: '', stderr: 'The password is changed, and your other sessions have ended.\n' })
    expect((await on.login(BO, 'Quiet-harbour-32', TENANT)).status).toBe(200)
  })

  test('one that breaks the rules is refused with all of them, and the former one stays', async () => {
    const env = { FREEHOLD_EMAIL: 'ada@freehold.test', FREEHOLD_PASSWORD: 'Correct-horse-7', FREEHOLD_NEW_PASSWORD: 'short' }
    const { code, stderr } = await on.as(env, 'password')
    expect([code, stderr]).toEqual([1, expect.stringMatching(/\n {2}#\/new_password: /)])
    expect((await on.login('ada@freehold.test', 'Correct-horse-7')).status).toBe(200)
  })
})
