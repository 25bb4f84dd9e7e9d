/** The routes of the document, for claims about all of them; and bodies that tell whether they were read. */
import { env } from 'cloudflare:workers'
import { app } from '../../src/app.ts'
import { askAside } from './aside.ts'
import type { Heard } from './knock.ts'
import { call } from './people.ts'

export type Door = {
  method: string
  path: string
  name: string
  is_public: boolean
  /** A public one that admits a session if one is sent. */
  takes_session: boolean
  types: string[]
  on_platform: boolean
}
type Operation = { security?: object[]; requestBody?: { content: Record<string, unknown> } }

/** Every route of the document, with an id that nobody has in its path. */
export async function doorsOf(): Promise<Door[]> {
  const { paths } = (await call('', '/openapi.json')).body as { paths: Record<string, Record<string, Operation>> }
  return Object.entries(paths).flatMap(([template, methods]) =>
    Object.entries(methods).map(([verb, { security, requestBody }]) => ({
      method: verb.toUpperCase(),
      path: template.replace(/\{[^}]+\}/g, '0d9c1a52-7c1e-4b39-9d0d-3c8f3f0b8a11'),
      name: `${verb.toUpperCase()} ${template}`,
      is_public: !security?.length || security.some((one) => Object.keys(one).length === 0),
      takes_session: Boolean(security?.length),
      types: Object.keys(requestBody?.content ?? {}),
      on_platform: template.startsWith('/platform/'),
    })),
  )
}

/** A body in parts of 1 KiB that begin with `start`, made only as they are read; how much of it was read. */
export function lazyBody(bytes: number, start = '{"a":"') {
  const part = new Uint8Array(1024).fill(120)
  const seen = { bytes: 0 }
  const body = new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        const next = part.slice()
        if (seen.bytes === 0) next.set(new TextEncoder().encode(start))
        seen.bytes += next.length
        controller.enqueue(next)
        if (seen.bytes >= bytes) controller.close()
      },
    },
    { highWaterMark: 0 },
  )
  return { body, seen }
}

/** A request of the Worker in this isolate, with a body that is not one piece; `changed` are bindings or settings. */
export async function send(
  url: string,
  init: { method: string; headers: Record<string, string>; body: ReadableStream<Uint8Array> },
  changed: Record<string, unknown> = {},
): Promise<Heard> {
  const request = new Request(url, { ...init, duplex: 'half' } as RequestInit)
  const [response, text] = await askAside(async (context) => {
    const response = await app.fetch(request, { ...env, ...changed }, context)
    return [response, await response.text()]
  })
  const isJson = /json$/.test(response.headers.get('Content-Type') ?? '') && text
  return { status: response.status, headers: response.headers, text, body: isJson ? JSON.parse(text) : text }
}
