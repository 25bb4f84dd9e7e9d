import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { type Answer, type Asked, TooLarge } from './answer.ts'
import type { Faults } from './faults.ts'

export type Handler = (asked: Asked) => Promise<Answer>

/** Longer than clients keep idle connections: if the server closes one first, the client's next request may fail. */
const KEEP_ALIVE_MS = 120_000

/** Serves on 127.0.0.1; 0 takes a free port. */
export async function serve(port: number, handler: Handler, faults: Faults): Promise<{ server: Server; port: number }> {
  const server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS, requestTimeout: 0 }, (request, response) => {
    void answerOne(request, response, handler, faults)
  })
  await new Promise<void>((done, fail) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      fail(new Error(error.code === 'EADDRINUSE' ? `Port ${port} is taken` : `Port ${port} cannot be used: ${error.message}`))
    })
    server.listen(port, '127.0.0.1', done)
  })
  const address = server.address()
  return { server, port: typeof address === 'object' && address ? address.port : port }
}

async function answerOne(request: IncomingMessage, response: ServerResponse, handler: Handler, faults: Faults) {
  const asked = read(request, response)
  let answer: Answer
  try {
    answer = await faults.around(asked, handler)
  } catch (error) {
    answer = { status: 500, body: JSON.stringify({ message: error instanceof Error ? error.message : String(error), code: '' }) }
  }
  if (answer.status === DROPPED || response.destroyed) {
    response.destroy()
  } else {
    response.writeHead(answer.status, answer.headers)
    response.end(answer.body)
  }
  answer.after?.()
}

/** The status of an answer that is never sent. */
export const DROPPED = 0

function read(request: IncomingMessage, response: ServerResponse): Asked {
  const [path = '', query = ''] = (request.url ?? '').split('?', 2)
  const gone = new AbortController()
  response.once('close', () => {
    if (!response.writableEnded) gone.abort()
  })
  return {
    method: request.method ?? 'GET',
    path,
    query: new URLSearchParams(query),
    headers: request.headers,
    body: (limit) => readBody(request, limit),
    signal: gone.signal,
  }
}

async function readBody(request: IncomingMessage, limit: number) {
  if (Number(request.headers['content-length'] ?? 0) > limit) throw new TooLarge()
  const parts: Buffer[] = []
  let size = 0
  for await (const part of request) {
    size += part.length
    if (size > limit) throw new TooLarge()
    parts.push(part)
  }
  return Buffer.concat(parts).toString('utf8')
}
