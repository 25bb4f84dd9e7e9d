import { expect } from 'vitest'
import { call, operatorToken } from './people.ts'

const NONE = {
  max_users: null,
  max_organizations: null,
  max_documents: null,
  limit_documents: null,
  max_api_keys: null,
  max_sessions: null,
}

/**
 * Sets the limits of a tenant to these and no others. By the platform, not in the tenant's database alone: a scheduled job that another
 * file runs tells every tenant what the master says.
 */
export async function setLimits(id: string, limits: Record<string, number | boolean | null>): Promise<void> {
  const { status, body } = await call('', `/platform/v1/tenants/${id}`, {
    token: await operatorToken(),
    method: 'PATCH',
    body: { limits: { ...NONE, ...limits } },
  })
  expect(status, JSON.stringify(body)).toBe(200)
}
