import { createExecutionContext, waitOnExecutionContext } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { app } from '../../src/app.ts'
import type { Heard } from './knock.ts'

/** What makes the settings of the tests those of a production; the local Neon goes on being asked, because the driver remembers it. */
export const PRODUCTION = {
  ENVIRONMENT: 'production',
  BASE_URL: 'https://freehold.dev',
  MAILBOX_URL: '',
  NEON_API_URL: '',
  NEON_SQL_URL: '',
  PASSWORD_HASH_ITERATIONS: '',
}

/** A request of the Worker as it would answer with other bindings or settings. */
export async function knockElsewhere(changed: Record<string, unknown>, url: string, init: RequestInit = {}): Promise<Heard> {
  const context = createExecutionContext()
  const response = await app.fetch(new Request(url, { redirect: 'manual', ...init }), { ...env, ...changed }, context)
  const text = await response.text()
  await waitOnExecutionContext(context)
  const isJson = /json/.test(response.headers.get('Content-Type') ?? '') && text
  return { status: response.status, headers: response.headers, text, body: isJson ? JSON.parse(text) : text }
}
