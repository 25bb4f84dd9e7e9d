/** The commands on roles, permissions and API keys, against the API. What the API itself refuses: test/roles and test/api-keys. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startWithTenant, type WithTenant } from './one-tenant.ts'

const TENANT = 'grants-cli'
const BO = 'bo@grants-cli.test'
const ANN = 'ann@grants-cli.test'
let on: WithTenant

beforeAll(async () => {
  on = await startWithTenant(TENANT)
})
afterAll(() => on?.stop())

const refused = (sentence: string) => ({ code: 1, stdout: '', stderr: `error: ${sentence}\n` })
const roleNamed = async (name: string) => {
  const { body } = await on.ask('GET', `/roles?search=${name}`, { token: on.tokens.bo, tenant: TENANT })
  return body.data.find((role: { name: string }) => role.name === name)
}

describe('roles', () => {
  test('create, show and list show a role with its permissions and their scope', async () => {
    const made = await on.bo(
      'roles',
      'create',
      'chemist',
      '--description',
      'Mixes',
      '--parent',
      'user',
      '--permission',
      'document:read',
      'document:update=own',
    )
    expect([made.code, made.stderr]).toEqual([0, ''])
    expect(made.stdout).toMatch(/ {2}role +chemist\n/)
    const { stdout } = await on.bo('roles', 'show', 'chemist')
    expect(stdout).toMatch(/PERMISSION +SCOPE +FROM\ndocument:read +all +-\ndocument:update +own +-\n/)
    expect(stdout).toMatch(/\n\S+:\S+ +own +user\n/)
    expect((await on.bo('roles', 'list', '--search', 'chem')).stdout).toMatch(
      /^ROLE +STATUS +PERMISSIONS +DESCRIPTION\nchemist +active +2 +Mixes\n$/,
    )
    const { id } = await roleNamed('chemist')
    const { body } = await on.ask('GET', `/roles/${id}`, { token: on.tokens.bo, tenant: TENANT })
    expect(JSON.parse((await on.bo('roles', 'show', id, '--json')).stdout)).toEqual(body)
  })

  test('permissions are added, given another scope, and removed', async () => {
    const carried = async () => (await roleNamed('chemist')).permissions
    expect((await on.bo('roles', 'permissions', 'add', 'chemist', 'document:approve=team', 'document:read=own')).code).toBe(0)
    expect(await carried()).toEqual([
      { permission: 'document:approve', scope: 'team' },
      { permission: 'document:read', scope: 'own' },
      { permission: 'document:update', scope: 'own' },
    ])
    const removed = await on.bo('roles', 'permissions', 'remove', 'chemist', 'document:approve', 'document:update')
    expect(removed).toEqual({ code: 0, stdout: '', stderr: 'chemist no longer carries document:approve, document:update.\n' })
    expect(await carried()).toEqual([{ permission: 'document:read', scope: 'own' }])
  })

  test('assign gives a role to a user, until it is taken or ends', async () => {
    await on.bo('users', 'create', ANN)
    const ends = '2999-01-31T12:00:00Z'
    const made = await on.bo('roles', 'assign', 'chemist', ANN, '--until', ends)
    expect([made.code, made.stderr]).toEqual([
      0,
      expect.stringMatching(/^ann@grants-cli\.test holds chemist from .* \(UTC\) on until 2999-01-31 12:00 \(UTC\)\.\n$/),
    ])
    expect((await on.bo('users', 'list', '--role', 'chemist')).stdout).toContain(ANN)
    const taken = await on.bo('roles', 'unassign', 'chemist', ANN)
    expect(taken).toEqual({ code: 0, stdout: '', stderr: `${ANN} no longer holds chemist.\n` })
    expect((await on.bo('users', 'list', '--role', 'chemist')).stdout).toBe('')
    const own = await on.bo('roles', 'assign', 'chemist', BO)
    expect([own.code, own.stderr]).toEqual([
      1,
      expect.stringMatching(/^error: Not permitted\.\nYou cannot assign a role to yourself\.\n/),
    ])
  })

  test('delete asks, or takes --yes', async () => {
    const asked = await on.bo('roles', 'delete', 'chemist')
    expect([asked.code, asked.stderr]).toEqual([1, expect.stringContaining('Delete the role chemist? Repeat it with --yes.')])
    expect(await roleNamed('chemist')).toBeDefined()
    expect(await on.bo('roles', 'delete', 'chemist', '--yes')).toEqual({
      code: 0,
      stdout: '',
      stderr: 'The role chemist is deleted.\n',
    })
    expect(await roleNamed('chemist')).toBeUndefined()
  })

  test.for([
    ['show', 'king'],
    ['delete', 'king', '--yes'],
    ['permissions', 'add', 'king', 'document:read'],
    ['assign', 'king', BO],
    ['create', 'knight', '--parent', 'king'],
  ])('%j: a role that there is not', async (args) => {
    expect(await on.bo('roles', ...args)).toEqual(refused('There is no role king.'))
  })

  test('a user, a permission and a scope that there are not', async () => {
    expect(await on.bo('roles', 'assign', 'user', 'nobody@grants-cli.test')).toEqual(
      refused('There is no user nobody@grants-cli.test.'),
    )
    const permission = await on.bo('roles', 'create', 'knight', '--permission', 'dragon:slay')
    expect([permission.code, permission.stderr]).toEqual([1, expect.stringContaining('dragon:slay')])
    const scope = await on.bo('roles', 'create', 'knight', '--permission', 'document:read=realm')
    expect([scope.code, scope.stderr]).toEqual([2, expect.stringContaining('scopes are all, department, team, own')])
  })
})

describe('permissions', () => {
  test('list shows those on a resource, and --json those of the API', async () => {
    const { stdout } = await on.bo('permissions', 'list', '--resource', 'user')
    expect(stdout).toMatch(/^PERMISSION +ADMINISTRATIVE +DESCRIPTION\nuser:approve +(yes|no) /)
    const { body } = await on.ask('GET', '/permissions?limit=100&resource=user', { token: on.tokens.bo, tenant: TENANT })
    expect(JSON.parse((await on.bo('permissions', 'list', '--resource', 'user', '--json')).stdout)).toEqual(body)
    expect((await on.bo('permissions', 'list', '--resource', 'dragon')).stderr).toBe('There is no such permission.\n')
  })

  test('of no tenant is refused, and says how one is named', async () => {
    const { code, stderr } = await on.as({ FREEHOLD_TENANT_TOKEN: on.tokens.bo }, 'permissions', 'list')
    expect([code, stderr]).toEqual([2, expect.stringContaining('Name the tenant')])
  })
})

describe('api-keys', () => {
  test('create prints the secret alone on stdout, and the key works', async () => {
    const { code, stdout, stderr } = await on.bo(
      'api-keys',
      'create',
      'nightly',
      '--permission',
      'user:read',
      '--expires-at',
      'never',
    )
    expect([code, stderr]).toEqual([
      0,
      expect.stringMatching(/^The API key nightly \(\w+\) does not expire\. It is shown only now:\n$/),
    ])
    const answer = await fetch(`${on.url}/api/v1/users`, { headers: { 'X-API-Key': stdout.trim(), 'X-Tenant': TENANT } })
    expect(answer.status).toBe(200)
    expect((await on.bo('api-keys', 'list')).stdout).toMatch(/^PREFIX +NAME .*\n\w+ +nightly +never +.* user:read\n$/)
  })

  test('rotate, by the prefix, prints its successor', async () => {
    const [{ prefix }] = JSON.parse((await on.bo('api-keys', 'list', '--json')).stdout).data
    const { code, stdout } = await on.bo('api-keys', 'rotate', prefix, '--overlap', '5')
    expect([code, stdout]).toEqual([0, expect.stringMatching(/^fh_\S+\n$/)])
    const again = await on.bo('api-keys', 'rotate', prefix)
    expect([again.code, again.stderr]).toEqual([1, expect.stringContaining('This key was rotated before: rotate its successor.')])
  })

  test('revoke asks, or takes --yes; with --user one of another', async () => {
    const [{ prefix, id }] = JSON.parse((await on.bo('api-keys', 'list', '--user', BO, '--json')).stdout).data
    const asked = await on.bo('api-keys', 'revoke', prefix)
    expect([asked.code, asked.stderr]).toEqual([
      1,
      expect.stringContaining(`Revoke the API key nightly (${prefix})? Repeat it with --yes.`),
    ])
    expect(await on.bo('api-keys', 'revoke', id, '--user', BO, '--yes')).toMatchObject({
      code: 0,
      stderr: `The API key nightly (${prefix}) is revoked.\n`,
    })
    expect(await on.bo('api-keys', 'revoke', prefix, '--yes')).toEqual(refused(`There is no API key ${prefix}.`))
  })

  test('a permission that there is not is refused; operators have keys as well', async () => {
    const wrong = await on.bo('api-keys', 'create', 'x', '--permission', 'dragon:slay')
    expect([wrong.code, wrong.stderr]).toEqual([1, expect.stringContaining('dragon:slay')])
    const made = await on.ada('api-keys', 'create', 'watch', '--permission', 'tenant:read', '--address', '192.0.2.0/24', '--json')
    expect(JSON.parse(made.stdout)).toMatchObject({
      name: 'watch',
      addresses: ['192.0.2.0/24'],
      key: expect.stringMatching(/^fh_/),
    })
  })
})
