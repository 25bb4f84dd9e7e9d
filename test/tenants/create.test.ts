import { beforeAll, describe, expect, it } from 'vitest'
import { ADMIN, call, login, makeTenant, operatorToken, wanted } from '../support/people.ts'

let token: string
beforeAll(async () => {
  token = await operatorToken()
})

describe('making a tenant', () => {
  it('ends with an administrator who can log in on the tenant’s own host', async () => {
    const tenant = await makeTenant('made', {}, token)
    expect(tenant).toMatchObject({ subdomain: 'made', status: 'active', is_active: true, url: 'http://made.freehold.test', database_name: 'freehold_made' })
    expect(tenant.initial_admin).toEqual({ email: ADMIN.email, must_change_password: false })
    const answer = await login('made')
    expect(answer).toMatchObject({ token_type: 'Bearer', must_change_password: false })
  })
})
