import { describe, expect, test } from 'vitest'
import { groups } from '../../src/presets/groups.ts'
import { freehold } from './run.ts'
import { stranger } from './stranger.ts'
import { tenantOfRoles } from './tenant-of-roles.ts'

const BO = { tenant: 'acme', email: 'bo@acme.test', password: 'Quiet-harbour-31' }
const AS_BO = { FREEHOLD_TENANT_EMAIL: BO.email, FREEHOLD_TENANT_PASSWORD: BO.password }
const ran = (url: string, args: string[], env: Record<string, string> = AS_BO) =>
  freehold(['setup-groups', 'acme', '--url', url, ...args], env)

describe('setup-groups', () => {
  test('makes the roles of the preset, children under their parents, with what the data grants', async () => {
    const { answer, roles, asked } = tenantOfRoles(BO)
    const { code, stdout, stderr } = await stranger(answer, (url) => ran(url, []))
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/^ROLE +OUTCOME +PERMISSIONS ADDED\nplan_free +made +\d+\n/)
    const nameOf = (id: string | null) => roles.find((role) => role.id === id)?.name
    expect(
      roles.map(({ name, parent_id, permissions, is_manageable }) => [name, nameOf(parent_id), permissions, is_manageable]),
    ).toEqual(
      groups.roles.map(({ name, parent, grants, is_manageable }) => [
        name,
        parent,
        grants.map(([permission, scope]) => ({ permission, scope })),
        is_manageable,
      ]),
    )
    expect(asked.at(-1)).toBe('POST /api/v1/auth/logout')
  })

  test('keeps what is there and adds what is missing; the second time it changes nothing', async () => {
    const { answer, roles, asked } = tenantOfRoles(BO)
    await stranger(answer, async (url) => {
      await ran(url, [])
      const [free, basic] = roles
      free?.permissions.shift()
      for (const grant of basic?.permissions ?? []) grant.scope = 'team'
      roles.pop()
      const { stdout } = await ran(url, ['--json'])
      const { tenant, preset, roles: outcomes } = JSON.parse(stdout)
      expect({ tenant, preset }).toEqual({ tenant: 'acme', preset: 'groups' })
      expect(outcomes).toHaveLength(groups.roles.length)
      expect(outcomes[0]).toEqual({ name: 'plan_free', outcome: 'extended', permissions_added: 1 })
      expect(outcomes[1]).toEqual({ name: 'plan_basic', outcome: 'kept', permissions_added: 0 })
      expect(outcomes.at(-1)).toMatchObject({ name: 'group_manager', outcome: 'made' })
      asked.length = 0
      const again = JSON.parse((await ran(url, ['--json'])).stdout)
      expect(new Set(again.roles.map(({ outcome }: { outcome: string }) => outcome))).toEqual(new Set(['kept']))
      expect(asked.filter((call) => call.startsWith('POST') && !call.includes('/auth/'))).toEqual([])
    })
  })

  test('tells of a role that inherits from another, and leaves it there', async () => {
    const { answer, roles } = tenantOfRoles(BO)
    await stranger(answer, async (url) => {
      await ran(url, [])
      const pro = roles.find(({ name }) => name === 'plan_pro')
      if (pro) pro.parent_id = null
      const { code, stderr } = await ran(url, [])
      expect({ code, stderr }).toEqual({
        code: 0,
        stderr: 'plan_pro inherits from another role than the preset says; that stays.\n',
      })
      expect(pro?.parent_id).toBeNull()
    })
  })

  test('takes a token instead of a password, and then neither logs in nor out', async () => {
    const { answer, asked } = tenantOfRoles(BO)
    const { code } = await stranger(answer, (url) => ran(url, ['--preset', 'minimal'], { FREEHOLD_TENANT_TOKEN: 'token' }))
    expect(code).toBe(0)
    expect(asked).toEqual(['GET /api/v1/roles', 'POST /api/v1/roles', 'POST /api/v1/roles'])
  })

  test('names the credentials that are missing, and does not take an operator’s for them', async () => {
    const operator = { FREEHOLD_TOKEN: 'token', FREEHOLD_EMAIL: BO.email, FREEHOLD_PASSWORD: BO.password }
    expect(await ran('http://localhost:9', [], operator)).toEqual({
      code: 1,
      stdout: '',
      stderr:
        'error: Log in with freehold login --tenant acme, or set FREEHOLD_TENANT_TOKEN, or FREEHOLD_TENANT_EMAIL and FREEHOLD_TENANT_PASSWORD.\n',
    })
    const half = await ran('http://localhost:9', [], { FREEHOLD_TENANT_EMAIL: BO.email })
    expect(half).toMatchObject({ code: 1, stderr: expect.stringContaining('belong together') })
  })

  test('with a wrong password is refused, and told where it came from', async () => {
    const { answer } = tenantOfRoles(BO)
    const wrong = { ...AS_BO, FREEHOLD_TENANT_PASSWORD: 'Wrong-horse-7' }
    const { code, stdout, stderr } = await stranger(answer, (url) => ran(url, [], wrong))
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toContain('FREEHOLD_TENANT_PASSWORD')
    expect(stderr).not.toContain('Wrong-horse-7')
  })
})
