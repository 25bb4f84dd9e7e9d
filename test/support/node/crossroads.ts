/**
 * A server that sends everybody on, and one on another port, to which it sends them. `{at}/307/{name}` is answered by a redirect to the
 * other; `{at}/seen/{name}` tells the headers of all who arrived there.
 */
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'

export type Crossroads = { at: string }

const listening = async (server: Server) => {
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

export async function startCrossroads(): Promise<Crossroads & { stop: () => Promise<void> }> {
  const arrived: { name: string; headers: IncomingHttpHeaders }[] = []
  const there = createServer((request, response) => {
    arrived.push({ name: request.url?.split('/')[1] ?? '', headers: request.headers })
    response.setHeader('Content-Type', 'application/json').end('{}')
  })
  const elsewhere = await listening(there)
  const here = createServer((request, response) => {
    const [, status = '', name = '', ...rest] = request.url?.split('/') ?? []
    if (status === 'seen') return response.end(JSON.stringify(arrived.filter((one) => one.name === name)))
    response.writeHead(Number(status), { Location: `${elsewhere}/${[name, ...rest].join('/')}` }).end('go on')
  })
  const at = await listening(here)
  const stop = async () => {
    for (const server of [here, there]) {
      server.closeAllConnections()
      await new Promise<void>((done) => server.close(() => done()))
    }
  }
  return { at, stop }
}
