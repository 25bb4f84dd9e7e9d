/**
 * Threat: a deploy takes minutes and a run of migrations hours; meanwhile tenants have the schema of the release before. Every route of
 * the tenant plane is asked, on a database of that schema: it answers as it does, refuses in words of ours, or says that the tenant is
 * being upgraded. Nothing fails. The other way, the release before on this schema: test/releases/worker.node.test.ts.
 */
import { beforeAll, describe, expect, it } from 'vitest'
import { askings } from '../support/matrix.ts'
import { ADMIN, call } from '../support/people.ts'
import { plantSession } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

let token: string
let refresh_token: string
const all = askings((await call('', '/openapi.json')).body, 'tenant')

beforeAll(async () => {
  await copyTenant('behind-matrix', { is_behind: true })
  const planted = await plantSession('behind-matrix')
  token = planted.access_token
  refresh_token = planted.refresh_token
})

describe('on the schema of the release before', () => {
  it.each(all.map((asking) => [asking.name, asking] as const))(
    '%s does not fail',
    async (_, { method, path, at, body: sample }) => {
      const body = /refresh/.test(path) ? { refresh_token } : /\/login$/.test(path) ? ADMIN : sample
      // A stream that is opened does not end.
      const verb = path.endsWith('/stream') ? 'HEAD' : method
      const answer = await call('behind-matrix', at, { method: verb, token, ...(body === undefined ? {} : { body }) })
      if (answer.status === 503) expect(answer.body.code).toBe('tenant_upgrading')
      expect(answer.status, JSON.stringify(answer.body)).not.toBe(500)
    },
  )

  it('most of them answer', () => expect(all.length).toBeGreaterThan(80))
})
