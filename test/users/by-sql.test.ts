/** Threat: a verb that is wrong, or an injection. What the app login can do to people once it is admitted, whatever the Worker says. */
import { type SQL, sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Database, databaseOf, refusalOf } from '../support/databases.ts'
import { type Inside, inside } from '../support/inside.ts'
import { admit, type Credential, credentialOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { addMember, addRole, addUnit, type Scope } from './cast.ts'

const AT = 'by-sql'
let tenant: Database
let realm: Inside
const who = {} as Record<Scope, Credential>
const units = { lab: '', water: '', sales: '' }
let eve: string

beforeAll(async () => {
  await copyTenant(AT)
  tenant = await databaseOf(AT)
  realm = await inside(AT)
  units.lab = await addUnit(realm, 'department', 'Lab')
  units.water = await addUnit(realm, 'team', 'Water', units.lab)
  units.sales = await addUnit(realm, 'department', 'Sales')
  for (const scope of ['own', 'team', 'department', 'all'] as const) {
    await addRole(realm, `sql-${scope}`, ['user:read', 'user:create', 'user:update', 'user:delete', 'unit:update'], scope)
    const person = await addMember(realm, `sql-${scope}`, { roles: [`sql-${scope}`], unit_id: units.water })
    who[scope] = await credentialOf(AT, person.username)
  }
  eve = (await addMember(realm, 'eve', { unit_id: units.sales })).id
})

const refusal = (scope: Scope, permission: string, statement: SQL) =>
  refusalOf(tenant.app_url, admit(tenant, who[scope], permission), statement)
const me = sql`(select access.principal())`

describe('the app login, admitted', () => {
  it.each<[string, Scope, string, SQL, string]>([
    [
      'to change its own role',
      'own',
      'user:update',
      sql`update freehold.users set role = 'admin' where id = ${me}`,
      'FH403 forbidden',
    ],
    [
      'to leave its unit',
      'team',
      'user:update',
      sql`update freehold.users set unit_id = null where id = ${me}`,
      'FH403 forbidden',
    ],
    [
      'to deactivate itself',
      'all',
      'user:delete',
      sql`update freehold.users set is_active = false where id = ${me}`,
      'FH409 illegal_state',
    ],
    [
      'to change more than who is active',
      'all',
      'user:delete',
      sql`update freehold.users set email = 'x@acme.test' where username = 'eve'`,
      'FH403 forbidden',
    ],
    [
      'to verify an e-mail',
      'all',
      'user:update',
      sql`update freehold.users set email_verified = true`,
      '42501 permission denied for table users',
    ],
    [
      'to lift the change of a password',
      'all',
      'user:update',
      sql`update freehold.users set must_change_password = false`,
      '42501 permission denied for table users',
    ],
    [
      'to change an id',
      'all',
      'user:update',
      sql`update freehold.users set id = gen_random_uuid()`,
      '42501 permission denied for table users',
    ],
    [
      'to make somebody who was there before',
      'all',
      'user:create',
      sql`insert into freehold.users (id, username, email, created_at) values (gen_random_uuid(), 'x', 'x@x', now() - interval '1 day')`,
      '42501 permission denied for table users',
    ],
    [
      'to make somebody with another permission',
      'all',
      'user:update',
      sql`insert into freehold.users (id, username, email) values (gen_random_uuid(), 'x', 'x@x')`,
      '42501 new row violates row-level security policy for table "users"',
    ],
    [
      'to make somebody outside its team',
      'team',
      'user:create',
      sql`insert into freehold.users (id, username, email) values (gen_random_uuid(), 'x', 'x@x')`,
      '42501 new row violates row-level security policy for table "users"',
    ],
    ['to remove somebody', 'all', 'user:delete', sql`delete from freehold.users`, '42501 permission denied for table users'],
    [
      'to read a password',
      'all',
      'user:read',
      sql`select password_hash from freehold.passwords`,
      '42501 permission denied for table passwords',
    ],
    ['to give a password to who has one', 'all', 'user:create', sql`select access.first_password(${me}, 'x')`, 'FH403 forbidden'],
    [
      'to turn its department into a team',
      'department',
      'unit:update',
      sql`update freehold.units set kind = 'team' where name = 'Lab'`,
      'FH403 forbidden',
    ],
  ])('is refused %s', async (_, scope, permission, statement, expected) => {
    expect(await refusal(scope, permission, statement)).toBe(expected)
  })

  it('changes nobody whom it does not reach, and nobody with a permission for something else', async () => {
    const changed = (scope: Scope, permission: string) =>
      tenant.asApp(admit(tenant, who[scope], permission), sql`update freehold.users set description = 'x' returning username`)
    const names = async (scope: Scope, permission: string) =>
      (await changed(scope, permission)).map(({ username }) => username).sort()
    const team = ['sql-all', 'sql-department', 'sql-own', 'sql-team']
    expect(await names('own', 'user:update')).toEqual(['sql-own'])
    expect(await names('team', 'user:update')).toEqual(team)
    expect(await names('department', 'user:update')).toEqual(team)
    expect(await names('all', 'user:update')).toEqual(['bo', 'eve', ...team])
    for (const permission of ['user:read', 'user:create']) expect(await names('all', permission)).toEqual([])
    expect(await tenant.asApp(sql`update freehold.users set description = 'x' returning id`)).toEqual([])
  })

  it('cannot make of its admission a wider one', async () => {
    for (const setting of ['access.claims', 'access.signature']) {
      const rows = await tenant.asApp(
        admit(tenant, who.own, 'user:update'),
        sql`select set_config(${setting}, replace(current_setting(${setting}), 'own', 'all') || case when ${setting} = 'access.signature' then 'x' else '' end, true)`,
        sql`update freehold.users set description = 'y' where id = ${eve} returning id`,
      )
      expect(rows).toEqual([])
    }
  })
})
