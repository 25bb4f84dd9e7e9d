/**
 * The local mailbox: it keeps what the Worker would send, as pages and as JSON for tests. Threat: a mail may contain anything,
 * and another web page in the browser must not read it. So everything is escaped, HTML is shown in a frame without permissions,
 * and only requests to this machine's own names are answered.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type Mail, mailPage, mailsPage } from './mailbox-pages.ts'

export type Mailbox = { url: string; stop: () => Promise<void> }

const MAX_BODY = 1024 * 1024

/** Starts a mailbox on this machine. It keeps the last 500 mails, in memory only. */
export async function startMailbox(options: { port?: number; keep?: number } = {}): Promise<Mailbox> {
  const { port = 0, keep = 500 } = options
  /** The newest first. */
  const mails: Mail[] = []
  const server = createServer((request, response) => {
    answer(request, mails, keep).then(
      ([status, type, body]) => send(response, status, type, body),
      (error) => send(response, 400, 'text/plain', error instanceof Error ? error.message : String(error)),
    )
  })
  await new Promise<void>((done, fail) => server.once('error', fail).listen(port, '127.0.0.1', done))
  const stop = () =>
    new Promise<void>((done) => {
      server.close(() => done())
      server.closeAllConnections()
    })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, stop }
}

type Answer = [status: number, type: string, body: string]
const JSON_TYPE = 'application/json'

async function answer(request: IncomingMessage, mails: Mail[], keep: number): Promise<Answer> {
  if (!/^(127\.0\.0\.1|localhost)(:\d+)?$/.test(request.headers.host ?? '')) return [421, 'text/plain', 'Not this host.']
  const url = new URL(request.url ?? '/', 'http://127.0.0.1')
  const shown = /^\/mails\/(\d+)$/.exec(url.pathname)?.[1]
  if (request.method === 'POST' && url.pathname === '/mails') {
    if (!request.headers['content-type']?.startsWith(JSON_TYPE)) return [415, 'text/plain', 'JSON only.']
    mails.unshift(taken(await bodyOf(request), (mails[0]?.no ?? 0) + 1))
    mails.length = Math.min(mails.length, keep)
    return [201, JSON_TYPE, '{}']
  }
  if (request.method !== 'GET') return [405, 'text/plain', 'GET, or POST /mails.']
  const wanted = filtered(mails, url.searchParams)
  if (url.pathname === '/mails.json') return [200, JSON_TYPE, JSON.stringify(wanted)]
  if (url.pathname === '/') return [200, 'text/html', mailsPage(wanted, url.searchParams.get('to') ?? '')]
  const mail = mails.find(({ no }) => String(no) === shown)
  return mail ? [200, 'text/html', mailPage(mail)] : [404, 'text/plain', 'Nothing is here.']
}

/** `to`: an address or a phone number, exactly. */
const filtered = (mails: Mail[], query: URLSearchParams) => {
  const to = query.get('to')
  return to ? mails.filter((mail) => mail.to === to) : mails
}

function taken(sent: Record<string, unknown>, no: number): Mail {
  const text = (name: string) => {
    if (typeof sent[name] !== 'string') throw new Error(`${name} is missing.`)
    return sent[name]
  }
  const channel = text('channel') === 'sms' ? 'sms' : 'email'
  const [id, from, to, subject, plain, html] = ['id', 'from', 'to', 'subject', 'text', 'html'].map(text) as [
    string,
    string,
    string,
    string,
    string,
    string,
  ]
  return { no, at: new Date().toISOString(), id, channel, from, to, subject, text: plain, html }
}

async function bodyOf(request: IncomingMessage): Promise<Record<string, unknown>> {
  let body = ''
  for await (const chunk of request.setEncoding('utf8')) {
    body += chunk
    if (body.length > MAX_BODY) throw new Error('Too large.')
  }
  return JSON.parse(body)
}

function send(response: ServerResponse, status: number, type: string, body: string) {
  response.writeHead(status, {
    'Content-Type': `${type}; charset=utf-8`,
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
    'Content-Security-Policy':
      "default-src 'none'; style-src 'unsafe-inline'; frame-src 'self' about:; form-action 'self'; frame-ancestors 'none'",
  })
  response.end(body)
}
