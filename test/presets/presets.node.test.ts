import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { ACTIONS, catalogue, RESOURCES } from '../../src/presets/catalogue.ts'
import { grants, isWider, reachOf } from '../../src/presets/grants.ts'
import type { Preset, Scope } from '../../src/presets/preset.ts'
import { presets } from '../../src/presets/presets.ts'
import { expand, LEVELS, MODULES } from '../../src/presets/vigia.ts'
import { SettingsPatch } from '../../src/settings/settings.ts'

const named = (name: string): Preset => {
  const preset = presets[name]
  if (!preset) throw new Error(`There is no preset ${name}.`)
  return preset
}
const namesOf = (preset: Preset) => preset.roles.map(({ name }) => name)
/** What one role may and another may not, or not as far. */
const beyond = (one: Map<string, Scope>, other: Map<string, Scope>) =>
  [...one].filter(([permission, scope]) => {
    const known = other.get(permission)
    return !known || isWider(scope, known)
  })
const isStrictlyWeaker = (preset: Preset, weak: string, strong: string) => {
  const [less, more] = [reachOf(preset, weak), reachOf(preset, strong)]
  return beyond(less, more).length === 0 && beyond(more, less).length > 0
}

it('the catalogue is the seed’s 44 resources x 7 actions, and what is Freehold’s own, each once', () => {
  expect([RESOURCES.length, ACTIONS.length]).toEqual([44, 7])
  expect(new Set(catalogue).size).toBe(catalogue.length)
  expect(catalogue.length).toBeGreaterThan(44 * 7)
})

it('there are five presets, each under its own name', () => {
  expect(Object.entries(presets).map(([key, { name }]) => [key, name])).toEqual(
    ['minimal', 'lims', 'coveris', 'groups', 'vigia'].map((name) => [name, name]),
  )
})

it('the preset of the laboratory has the rules of its document, and no other has any for passwords', () => {
  expect(named('lims').settings).toEqual({
    password_min_length: 8,
    password_upper: true,
    password_lower: true,
    password_digit: true,
    password_special: true,
    password_unique: 5,
    password_history: 5,
    password_days: 90,
    password_warning_days: 14,
    password_grant: true,
  })
  const others = Object.values(presets).filter(({ name }) => name !== 'lims')
  expect(others.map(({ name, settings }) => [name, settings])).toEqual([
    ['minimal', undefined],
    ['coveris', { password_grant: true }],
    ['groups', { password_grant: true }],
    ['vigia', { password_grant: true }],
  ])
})

describe.each(Object.values(presets))('$name', (preset) => {
  const { permissions, roles, administrator, fallback } = preset

  it('has every permission of the catalogue, each once, in the form that the database takes', () => {
    expect(permissions).toEqual(expect.arrayContaining(catalogue))
    expect(new Set(permissions).size).toBe(permissions.length)
    expect(permissions.filter((name) => !/^[a-z][a-z0-9_-]{0,62}:[a-z][a-z0-9_-]{0,31}$/.test(name))).toEqual([])
  })

  it('names roles once, in 1-64 characters, each with what it is for, a parent before its child', () => {
    const names = namesOf(preset)
    expect(new Set(names).size).toBe(names.length)
    expect(roles.filter(({ name, description }) => name.length < 1 || name.length > 64 || !description)).toEqual([])
    expect(roles.filter(({ parent }, i) => parent !== undefined && !names.slice(0, i).includes(parent))).toEqual([])
  })

  it('has only settings that exist, within their bounds', () => {
    expect(z.strictObject(SettingsPatch.shape).safeParse(preset.settings ?? {}).error).toBeUndefined()
  })

  it('has an administrator and a fallback among its roles', () => {
    expect(namesOf(preset)).toEqual(expect.arrayContaining([administrator, fallback]))
    expect(administrator).not.toBe(fallback)
  })

  it('grants only permissions that it has, each once to a role', () => {
    for (const { name, grants: given } of roles) {
      const asked = given.map(([permission]) => permission)
      expect(
        asked.filter((permission) => !permissions.includes(permission)),
        name,
      ).toEqual([])
      expect(new Set(asked).size, name).toBe(asked.length)
    }
  })

  it('grants nothing that is inherited already, unless at a wider scope', () => {
    for (const { name, parent, grants: given } of roles) {
      const inherited = parent ? reachOf(preset, parent) : new Map<string, Scope>()
      expect(given.length - beyond(new Map(given), inherited).length, name).toBe(0)
    }
  })

  it('lets everybody see and mend what is their own, and end their sessions', () => {
    const self = ['user:read', 'user:update', 'session:read', 'session:delete']
    for (const name of namesOf(preset)) expect([...reachOf(preset, name).keys()], name).toEqual(expect.arrayContaining(self))
  })

  it('has an administrator who can hand out every role, and can set up roles and people', () => {
    const held = reachOf(preset, administrator)
    for (const name of namesOf(preset)) expect(beyond(reachOf(preset, name), held), name).toEqual([])
    for (const permission of ['user:create', 'role:create', 'role:update', 'permission:create', 'setting:update'])
      expect(held.get(permission), permission).toBe('all')
  })

  it('lets nobody bring in people who could not give them the fallback', () => {
    for (const name of namesOf(preset)) {
      const reach = reachOf(preset, name)
      if (reach.has('user:create') || reach.has('invitation:create'))
        expect(beyond(reachOf(preset, fallback), reach), name).toEqual([])
    }
  })

  it('has a fallback that changes nothing but what is one’s own', () => {
    const changed = [...reachOf(preset, fallback)].filter(([name, scope]) => scope !== 'own' && !name.endsWith(':read'))
    expect(changed).toEqual([])
  })
})

describe('lims', () => {
  const lims = named('lims')

  it('has the ten roles of the seed', () => {
    const seed = 'admin quality_manager lab_manager technician checker approver auditor customer hr_manager finance_manager'
    expect(new Set(namesOf(lims))).toEqual(new Set(seed.split(' ')))
  })

  it('has a fallback that is the weakest of them', () => {
    for (const name of namesOf(lims))
      if (name !== 'customer') expect(reachOf(lims, name).size).toBeGreaterThan(reachOf(lims, 'customer').size)
    expect(new Set(reachOf(lims, lims.fallback).values())).toEqual(new Set(['own']))
  })

  it('has an auditor who reads and exports everything, and changes only what is their own', () => {
    const reach = reachOf(lims, 'auditor')
    const seen = lims.permissions.filter((permission) => /:(read|export)$/.test(permission))
    expect(seen.filter((permission) => reach.get(permission) !== 'all')).toEqual([])
    expect([...reach].filter(([permission]) => !seen.includes(permission))).toEqual([
      ['user:update', 'own'],
      ['session:delete', 'own'],
    ])
  })

  it('has a customer with their own orders and support tickets, and nothing else of the business', () => {
    const business = [...reachOf(lims, 'customer')].filter(([permission]) => !/^(user|session):/.test(permission))
    expect(business).toEqual(grants(['own', 'CRU', 'order', 'support_ticket']))
  })

  it('keeps testing and checking apart: who enters a record does not verify it', () => {
    expect(reachOf(lims, 'technician').get('form_record:review')).toBeUndefined()
    expect(reachOf(lims, 'checker').get('form_record:update')).toBeUndefined()
    expect(reachOf(lims, 'checker').get('form_record:approve')).toBeUndefined()
  })
})

describe('coveris', () => {
  const coveris = named('coveris')

  it.each([
    ['MANAGER', 'ADMIN'],
    ['SUPERVISOR', 'MANAGER'],
    ['VIEWER', 'SUPERVISOR'],
    ['EMPLOYEE', 'VIEWER'],
  ])('%s is strictly weaker than %s', (weak, strong) => {
    expect(isStrictlyWeaker(coveris, weak, strong)).toBe(true)
  })

  it('has these five roles, and makes a VIEWER of who has none', () => {
    expect(new Set(namesOf(coveris))).toEqual(new Set(['ADMIN', 'MANAGER', 'SUPERVISOR', 'VIEWER', 'EMPLOYEE']))
    expect(coveris.fallback).toBe('VIEWER')
  })

  it('has an ADMIN with everything', () => {
    expect(reachOf(coveris, 'ADMIN')).toEqual(new Map(coveris.permissions.map((name) => [name, 'all'])))
  })

  it('has a VIEWER who only reads, and a SUPERVISOR who writes within the team at most', () => {
    const writes = (name: string) => [...reachOf(coveris, name)].filter(([permission]) => !permission.endsWith(':read'))
    expect(writes('VIEWER')).toEqual([...reachOf(coveris, 'EMPLOYEE')].filter(([permission]) => !permission.endsWith(':read')))
    expect(writes('SUPERVISOR').filter(([, scope]) => scope !== 'team' && scope !== 'own')).toEqual([])
  })

  it('lets nobody but an ADMIN make anybody stronger', () => {
    const escalating = /^(role|permission|invitation|setting|api_key):(create|update|delete)$|^user:(create|delete)$/
    for (const name of ['MANAGER', 'SUPERVISOR', 'VIEWER', 'EMPLOYEE'])
      expect(
        [...reachOf(coveris, name).keys()].filter((permission) => escalating.test(permission)),
        name,
      ).toEqual([])
  })
})

describe('groups', () => {
  const groups = named('groups')
  const manageable = groups.roles.filter(({ is_manageable }) => is_manageable)

  it('are of subscriptions, of the system, or managed by users; these alone are manageable', () => {
    const kinds = Map.groupBy(groups.roles, ({ name }) => name.split('_')[0] ?? '')
    expect(new Set(kinds.keys())).toEqual(new Set(['plan', 'system', 'group']))
    expect(manageable).toEqual(kinds.get('group'))
  })

  it.each([
    ['plan_free', 'plan_basic'],
    ['plan_basic', 'plan_pro'],
    ['plan_pro', 'plan_enterprise'],
  ])('of subscriptions go up: %s is strictly weaker than %s', (weak, strong) => {
    expect(isStrictlyWeaker(groups, weak, strong)).toBe(true)
  })

  it('of subscriptions open what is one’s own, and nothing beyond', () => {
    for (const name of namesOf(groups).filter((role) => role.startsWith('plan_')))
      expect(new Set(reachOf(groups, name).values()), name).toEqual(new Set(['own']))
  })

  it('that users manage reach the team at most, and somebody but the system can hand them out', () => {
    for (const { name } of manageable)
      expect(
        [...reachOf(groups, name).values()].filter((scope) => scope !== 'team' && scope !== 'own'),
        name,
      ).toEqual([])
    const manager = reachOf(groups, 'group_manager')
    expect(manager.get('role:update')).toBe('team')
    for (const { name } of manageable) expect(beyond(reachOf(groups, name), manager), name).toEqual([])
  })
})

describe('vigia', () => {
  const vigia = named('vigia')

  it('has the seed’s tables as resources of their own', () => {
    const resources = new Set(vigia.permissions.map((permission) => permission.split(':')[0]))
    for (const resource of ['icsr', 'icsr_product', 'icsr_event', 'product', 'client', 'surveillance_alert'])
      expect(resources).toContain(resource)
  })

  it('expands a module into the actions of its level on each of its resources', () => {
    expect(expand({ icsr: 'review', products: 'read' }).map(([permission]) => permission)).toEqual([
      ...['icsr:read', 'icsr:update', 'icsr:review'],
      ...['icsr_product:read', 'icsr_product:update', 'icsr_product:review'],
      ...['icsr_event:read', 'icsr_event:update', 'icsr_event:review'],
      'product:read',
    ])
    expect(expand({})).toEqual([])
  })

  it('leaves out actions that a resource does not have', () => {
    expect(expand({ settings: 'full' }).map(([permission]) => permission)).toEqual(
      expect.arrayContaining(['setting:read', 'setting:update', 'activity:export', 'usage:read']),
    )
    expect(expand({ settings: 'full' })).toHaveLength(11)
  })

  it.each(Object.entries(MODULES))('knows each resource of the module %s', (_, resources) => {
    for (const resource of resources) expect(vigia.permissions).toContain(`${resource}:read`)
  })

  it('has levels that all read', () => {
    for (const letters of Object.values(LEVELS)) expect(letters).toContain('R')
  })

  it('shows a viewer no case', () => {
    expect([...reachOf(vigia, 'viewer').keys()].filter((permission) => permission.startsWith('icsr'))).toEqual([])
  })
})

describe('grants', () => {
  it('are the letters of the actions on each resource, the wider where two rows name one', () => {
    expect(grants(['own', 'RU', 'user'], ['team', 'R', 'user', 'unit'], ['own', 'R', 'unit'])).toEqual([
      ['user:read', 'team'],
      ['user:update', 'own'],
      ['unit:read', 'team'],
    ])
  })
})
