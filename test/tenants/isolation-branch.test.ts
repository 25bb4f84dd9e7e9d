import { expect, it } from 'vitest'
import { login, makeTenant } from '../support/people.ts'

it.each(['database', 'branch'])('a tenant of isolation %s is made, and its administrator logs in', async (isolation) => {
  const name = `isolated-${isolation}`
  expect(await makeTenant(name, { isolation })).toMatchObject({
    isolation,
    status: 'active',
    database_name: `freehold_isolated_${isolation}`,
  })
  expect(await login(name)).toMatchObject({ token_type: 'Bearer' })
})
