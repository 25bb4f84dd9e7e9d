/** Requests of a Worker on a port of this machine. */
export type Ask = {
  /** The tenant; without it the platform. */
  at?: string
  token?: string
  key?: string
  body?: unknown
  method?: string
  headers?: Record<string, string>
}
/** `master`: how often the Worker asked the master for it; not known in production. */
export type Answer = { status: number; body: any; master: number }

/** Asks, with JSON where there is a body, and reads the answer. */
export async function askAt(port: number, path: string, { at, token, key, body, method, headers }: Ask = {}): Promise<Answer> {
  const answer = await fetch(`http://127.0.0.1:${port}${path}`, {
    method: method ?? (body === undefined ? 'GET' : 'POST'),
    headers: {
      ...(body !== undefined && { 'Content-Type': 'application/json' }),
      ...(at && { 'X-Tenant': at }),
      ...(token && { Authorization: `Bearer ${token}` }),
      ...(key && { 'X-API-Key': key }),
      ...headers,
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
    redirect: 'manual',
  })
  const text = await answer.text()
  const isJson = /\/(problem\+)?json/.test(answer.headers.get('Content-Type') ?? '') && text
  const master = Number(/master;desc="(\d+)"/.exec(answer.headers.get('Server-Timing') ?? '')?.[1])
  return { status: answer.status, body: isJson ? JSON.parse(text) : text, master }
}
