import { env } from 'cloudflare:workers'
import { vi } from 'vitest'
import { app } from '../../src/app.ts'
import { platformRealm } from '../../src/tenants/registry/registry.ts'
import { askAside } from './aside.ts'
import { settings } from './databases.ts'
import type { Heard } from './knock.ts'
import { invoke } from './production.ts'

/** What makes the settings of the tests those of a production; the local Neon goes on being asked, because the driver remembers it. */
export const PRODUCTION = {
  ENVIRONMENT: 'production',
  BASE_URL: 'https://freehold.dev',
  MAILBOX_URL: '',
  NEON_API_URL: '',
  NEON_SQL_URL: '',
  PASSWORD_HASH_ITERATIONS: '',
}

/**
 * A request of the Worker as it would answer with other bindings or settings. It remembers what it knew with those of the tests, and
 * afterwards knows the platform by those again: for ten seconds it would take its tokens for another's, also in the file that comes next.
 */
export async function knockElsewhere(changed: Record<string, unknown>, url: string, init: RequestInit = {}): Promise<Heard> {
  const heard = await knockAt(app, changed, url, init)
  if ('BASE_URL' in changed) await platformRealm({ config: settings(), meter: { master: 0 } }, true)
  return heard
}

/** The Worker with other bindings or settings from its start on, in an isolate of its own. */
export async function openElsewhere(changed: Record<string, unknown>) {
  vi.resetModules()
  const fresh = (await import('../../src/app.ts')).app
  return (url: string, init: RequestInit = {}) => invoke(() => knockAt(fresh, changed, url, init))
}

async function knockAt(asked: typeof app, changed: Record<string, unknown>, url: string, init: RequestInit): Promise<Heard> {
  const [response, text] = await askAside(async (context) => {
    const response = await asked.fetch(new Request(url, { redirect: 'manual', ...init }), { ...env, ...changed }, context)
    return [response, await response.text()]
  })
  const isJson = /json/.test(response.headers.get('Content-Type') ?? '') && text
  return { status: response.status, headers: response.headers, text, body: isJson ? JSON.parse(text) : text }
}
