/**
 * Where the documents of providers lie that tests make up: each test plants answers by `PUT /plant` with {path, status, headers, body,
 * delay_ms, bytes}, and asks `GET /asked?under=` what was asked for below a path, with method, headers and body. What was not planted is
 * 404. Nothing here knows of OpenID Connect: what a provider says is said by the test.
 */
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Asked, Planted } from '../planting.ts'

async function bodyOf(request: IncomingMessage): Promise<string> {
  let body = ''
  for await (const chunk of request) body += chunk
  return body
}

export async function startProviders(): Promise<{ url: string; stop: () => void }> {
  const planted = new Map<string, Planted>()
  const asked: Asked[] = []
  const server = createServer(async (request, response) => {
    response.on('error', () => undefined)
    const body = await bodyOf(request)
    const url = new URL(request.url ?? '/', 'http://here')
    if (url.pathname === '/plant') {
      const one = JSON.parse(body) as Planted
      planted.set(one.path, one)
      return response.end()
    }
    if (url.pathname === '/asked')
      return response.end(JSON.stringify(asked.filter(({ path }) => path.startsWith(url.searchParams.get('under') ?? ''))))
    asked.push({ method: request.method ?? '', path: url.pathname, headers: request.headers, body })
    const answer = planted.get(url.pathname)
    if (!answer) return response.writeHead(404).end()
    if (answer.delay_ms) await new Promise((done) => setTimeout(done, answer.delay_ms).unref())
    response.writeHead(answer.status ?? 200, { 'Content-Type': 'application/json', ...answer.headers })
    response.end(answer.bytes ? `${answer.body ?? ''}${' '.repeat(answer.bytes)}` : answer.body)
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const stop = () => {
    server.close()
    server.closeAllConnections()
  }
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, stop }
}
