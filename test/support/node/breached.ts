/**
 * A range API of breached passwords, as Have I Been Pwned's, over one list. What it does is said by the first part of the path:
 * `/listed/` answers, `/padded/` has the same lines with the count 0, `/late/` answers after five seconds, `/endless/` never stops,
 * `/moved/` redirects to `/listed/`, `/broken/` is a 500. `GET /asked` tells as JSON what it was asked.
 */
import { createHash } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

/** Passwords that are listed, and that no other rule refuses. */
export const BREACHED = ['Velvet-Comet-4471', 'Canción-Cometa-38']

const hashOf = (password: string) => createHash('sha1').update(password).digest('hex').toUpperCase()

export async function startBreached(): Promise<{ url: string; stop: () => void }> {
  const asked: { path: string; padding: unknown; headers: string; body: string }[] = []
  const server = createServer(async (request, response) => {
    response.on('error', () => undefined)
    if (request.url === '/asked') return response.end(JSON.stringify(asked))
    let body = ''
    for await (const chunk of request) body += chunk
    const [, mode = '', prefix = ''] = /^\/(\w+)\/(.*)$/.exec(request.url ?? '') ?? []
    asked.push({ path: request.url ?? '', padding: request.headers['add-padding'], headers: request.rawHeaders.join('\n'), body })
    const count = mode === 'padded' ? 0 : 37
    const listed = BREACHED.map(hashOf).filter((hash) => hash.startsWith(prefix))
    const lines = [`${'0'.repeat(34)}1:4`, ...listed.map((hash) => `${hash.slice(5)}:${count}`), `${'F'.repeat(35)}:0`].join(
      '\r\n',
    )
    if (mode === 'broken') return response.writeHead(500).end('no')
    if (mode === 'moved') return response.writeHead(302, { Location: `/listed/${prefix}` }).end()
    if (mode === 'late') return void setTimeout(() => response.end(lines), 5_000).unref()
    if (mode !== 'endless') return response.end(lines)
    const more = () => {
      while (!response.destroyed && response.write(`${'A'.repeat(35)}:1\r\n`.repeat(500)));
    }
    response.on('drain', more)
    more()
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const stop = () => {
    server.close()
    server.closeAllConnections()
  }
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, stop }
}
