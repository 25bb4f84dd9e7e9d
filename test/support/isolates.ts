/** Isolates of the Worker: each has modules of its own, and with them a memory of its own. `call` asks the one that was opened last. */
import { env } from 'cloudflare:workers'
import { vi } from 'vitest'
import { askAside } from './aside.ts'
import { invoke } from './production.ts'

export type Told = { status: number; body: any; headers: Headers; trips: number; master: number }
export type Isolate = (at: string, path: string, ask?: { token?: string; body?: unknown; method?: string }) => Promise<Told>

/** An isolate that has served nobody yet, in front of a KV. It is asked as `call` asks. */
export async function openIsolate(TENANTS: KVNamespace): Promise<Isolate> {
  vi.resetModules()
  const { app } = await import('../../src/app.ts')
  return async (at, path, { token, body, method = body === undefined ? 'GET' : 'POST' } = {}) => {
    const headers = {
      ...(body !== undefined && { 'Content-Type': 'application/json' }),
      ...(token && { Authorization: `Bearer ${token}` }),
    }
    const request = new Request(`http://${at}.freehold.test${path}`, {
      method,
      headers,
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
    const [response, text] = await askAside(async (context) => {
      const response = await invoke(async () => app.fetch(request, { ...env, TENANTS }, context))
      return [response, await response.text()]
    })
    const spent = (name: string) =>
      Number(new RegExp(`${name};desc="(\\d+)"`).exec(response.headers.get('Server-Timing') ?? '')?.[1])
    return {
      status: response.status,
      body: text ? JSON.parse(text) : null,
      headers: response.headers,
      trips: spent('db'),
      master: spent('master'),
    }
  }
}
