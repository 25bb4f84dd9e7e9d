import { exports } from 'cloudflare:workers'

export type Heard = { status: number; headers: Headers; text: string; body: any }

/** A request exactly as written, for what `call` would tidy up: whole URL, any headers, any body. Only reads the answer. */
export async function knock(url: string, init: RequestInit = {}): Promise<Heard> {
  const response = await exports.default.fetch(new Request(url, { redirect: 'manual', ...init }))
  const text = await response.text()
  const isJson = /[/+]json/.test(response.headers.get('Content-Type') ?? '') && text
  return { status: response.status, headers: response.headers, text, body: isJson ? JSON.parse(text) : text }
}
