import { Agent, request } from 'node:http'

export type Target = {
  port: number
  host: string
  path: string
  method?: string
  headers?: Record<string, string>
  /** Sent as JSON; text is sent as it is, with a type among the headers. */
  body?: unknown
  /** Without Content-Length. */
  chunked?: boolean
}
export type Reply = { status: number; text: string; ms: number }

const agent = new Agent({ keepAlive: true, maxSockets: 64 })

/** Sends one request over a kept connection. */
export function send({ port, host, path, method, headers, body, chunked = false }: Target): Promise<Reply> {
  const text = body === undefined || typeof body === 'string' ? body : JSON.stringify(body)
  const framing = chunked ? { 'Transfer-Encoding': 'chunked' } : { 'Content-Length': String(Buffer.byteLength(text ?? '')) }
  const typed = text === undefined ? {} : { 'Content-Type': 'application/json', ...framing }
  const started = performance.now()
  return new Promise((done, fail) => {
    const asked = request(
      {
        agent,
        host: '127.0.0.1',
        port,
        path,
        method: method ?? (text === undefined ? 'GET' : 'POST'),
        headers: { Host: `${host}:${port}`, 'User-Agent': 'bench/1', ...typed, ...headers },
      },
      (answer) => {
        const parts: Buffer[] = []
        answer.on('data', (part: Buffer) => parts.push(part))
        answer.on('end', () =>
          done({ status: answer.statusCode ?? 0, text: Buffer.concat(parts).toString(), ms: performance.now() - started }),
        )
        answer.on('error', fail)
      },
    )
    asked.on('error', fail)
    asked.end(text)
  })
}

/** Sends a request and reads its JSON. Fails unless the answer is a success. */
export async function ask<T>(target: Target): Promise<T> {
  const answer = await send(target)
  if (answer.status >= 300) throw new Error(`${target.path} answered ${answer.status}: ${answer.text.slice(0, 500)}`)
  return JSON.parse(answer.text) as T
}

/** Sends `count` requests, `width` at a time, and gives how long each took. Fails when one is not a success. */
export async function load(count: number, width: number, target: (i: number) => Target): Promise<number[]> {
  const took: number[] = []
  let next = 0
  const line = async () => {
    while (next < count) {
      const asked = target(next++)
      const answer = await send(asked)
      if (answer.status >= 300) throw new Error(`${asked.path} answered ${answer.status}: ${answer.text.slice(0, 500)}`)
      took.push(answer.ms)
    }
  }
  await Promise.all(Array.from({ length: width }, line))
  return took
}

/** Closes the kept connections. */
export const hangUp = () => agent.destroy()
