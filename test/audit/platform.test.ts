/** The record of the platform itself. Threat: what operators did to tenants is seen by nobody, or by a tenant. */
import { exports } from 'cloudflare:workers'
import { beforeAll, describe, expect, it } from 'vitest'
import { addPerson, inside, type Person } from '../support/inside.ts'
import { call, makeTenant, operatorToken } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'

const PATH = '/platform/v1/audit'
let owner: string
let auditor: string
let rex: Person
let made: { id: string; subdomain: string }

beforeAll(async () => {
  owner = await operatorToken()
  made = await makeTenant('platform-record')
  rex = await addPerson(await inside(''), 'rex', { roles: ['auditor'] })
  auditor = (await call('', '/platform/v1/auth/login', { body: { username: rex.username, password: rex.password } })).body
    .access_token
})

describe('the platform’s audit', () => {
  it('shows what operators did to a tenant, to who may read it, in one round trip', async () => {
    for (const token of [owner, auditor]) {
      const { status, trips, body } = await call('', `${PATH}?resource_id=${made.id}`, { token })
      expect([status, trips]).toEqual([200, 1])
      expect(body.data.at(-1)).toMatchObject({
        resource_type: 'tenant',
        resource_id: made.id,
        method: 'POST',
        path: '/platform/v1/tenants',
      })
      expect(JSON.stringify(body)).not.toMatch(/postgresql:|k1\./)
      const entry = await call('', `${PATH}/${body.data[0].id}`, { token })
      expect(entry.body).toEqual(body.data[0])
    }
  })

  it('goes along as a file, and says who took it', async () => {
    const file = await exports.default.fetch(`http://freehold.test${PATH}/export?format=ndjson&resource_id=${made.id}`, {
      headers: { Authorization: `Bearer ${auditor}` },
    })
    expect(file.status).toBe(200)
    const [newest = ''] = (await file.text()).split('\n')
    expect(JSON.parse(newest)).toMatchObject({ resource_type: 'tenant', resource_id: made.id })
    const { body } = await call('', `/platform/v1/operators/${rex.id}/activities`, { token: owner })
    expect(body.data.map(({ activity_type }: { activity_type: string }) => activity_type)).toEqual(['EXPORT', 'LOGIN'])
  })

  it('takes what a service of the platform did itself', async () => {
    const release = { activity_type: 'RELEASE_DEPLOYED', action: 'deploy', resource_type: 'release', resource_id: '0.1.0' }
    const { status, headers, body } = await call('', PATH, { token: owner, body: release })
    expect([status, headers.get('Location')]).toEqual([201, `${PATH}/${body.id}`])
    expectProblem(await call('', PATH, { token: auditor, body: release }), 403, 'forbidden')
  })

  it('is nothing that a tenant’s token or host opens', async () => {
    const access_token = await tokenOf('platform-record')
    expect((await call('', PATH, { token: access_token })).status).toBe(401)
    expectProblem(await call('platform-record', PATH, { token: owner }), 404, 'not_found')
    expectProblem(await call('', PATH), 401, 'token_missing')
  })
})
