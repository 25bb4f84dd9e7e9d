/**
 * What Cloudflare does between the Worker and a client that accepts gzip: it compresses the answer, and weakens its entity tag. Unlike
 * Cloudflare it does so whatever `Cache-Control: no-transform` says, as other proxies do. Streams of events it passes on, as all do: what is
 * compressed waits for its end.
 */
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createGzip } from 'node:zlib'

const COMPRESSED = /^(application\/(problem\+)?json|application\/x-ndjson|text\/(?!event-stream))/

/** Starts the proxy on a port of its own, in front of a port of this machine. */
export async function startCompressing(port: number) {
  const server = createServer(async (asked, answer) => {
    const { method, url, headers } = asked
    // Read to its end before it is passed on, because the Worker answers before it reads a body that it refuses.
    const body = Buffer.concat(await asked.toArray())
    const passed = request({ host: '127.0.0.1', port, method, path: url, headers }, (response) => {
      const about = { ...response.headers }
      const compresses =
        /\bgzip\b/.test(String(headers['accept-encoding'])) &&
        COMPRESSED.test(about['content-type'] ?? '') &&
        method !== 'HEAD' &&
        ![204, 304].includes(response.statusCode ?? 0)
      if (!compresses) {
        answer.writeHead(response.statusCode ?? 502, about)
        return response.pipe(answer)
      }
      delete about['content-length']
      about['content-encoding'] = 'gzip'
      if (about.etag) about.etag = `W/${about.etag.replace(/^W\//, '')}`
      answer.writeHead(response.statusCode ?? 502, about)
      return response.pipe(createGzip()).pipe(answer)
    })
    passed.on('error', () => answer.headersSent || answer.destroy())
    passed.end(body)
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const stop = () => {
    server.closeAllConnections()
    return new Promise<void>((done) => server.close(() => done()))
  }
  return { port: (server.address() as AddressInfo).port, stop }
}
