/**
 * A real SMTP server from npm, and three ports that are none: one that never speaks, one that hangs up, one that nobody listens on. What the
 * server does with a mail is said by its recipient: `busy@` is told to come later, `nobody@` is unknown, `spam@` is refused after the data,
 * `hangup@` has the line cut in the middle, `slow@` waits half a second. What it took is told as JSON over HTTP.
 * Beside it, a hook for texts to phones: `POST /sms/{status}` answers with that status, `GET /texts` tells what was taken.
 */
import { createServer as createHttp } from 'node:http'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { SMTPServer, type SMTPServerOptions } from 'smtp-server'

export type Taken = { to: string; raw: string; user: string | null; secure: boolean; connection: string }
export type PostOffice = { open: number; guarded: number; silent: number; closing: number; away: number; told: string }
export const POST_LOGIN = { username: 'post', password: 'Stamp:and/seal@7' }

const reply = (responseCode: number, message: string) => Object.assign(new Error(message), { responseCode })

/** A server, and what it took. */
export function smtpServer(options: SMTPServerOptions = {}) {
  const taken: Taken[] = []
  const server = new SMTPServer({
    logger: false,
    authOptional: true,
    disableReverseLookup: true,
    disabledCommands: ['STARTTLS'],
    allowInsecureAuth: true,
    onAuth: ({ username, password }, _, done) =>
      username === POST_LOGIN.username && password === POST_LOGIN.password
        ? done(null, { user: username })
        : done(reply(535, '5.7.8 not right')),
    onRcptTo: ({ address }, _, done) => {
      if (address.startsWith('busy@')) return done(reply(451, '4.3.2 come later'))
      if (address.startsWith('nobody@')) return done(reply(550, `5.1.1 <${address}> is nobody`))
      done()
    },
    onData: (stream, session, done) => {
      const to = session.envelope.rcptTo[0]?.address ?? ''
      let raw = ''
      stream.setEncoding('utf8').on('data', (chunk: string) => {
        raw += chunk
      })
      stream.on('end', async () => {
        if (to.startsWith('slow@')) await pause(500)
        if (to.startsWith('spam@')) {
          // A filter that repeats what it did not like.
          const text = Buffer.from(raw.split('\r\n\r\n')[2]?.split('--')[0] ?? '', 'base64').toString()
          return done(reply(554, `5.7.1 spam: ${/https?:\S+/.exec(text)?.[0] ?? ''}`))
        }
        if (to.startsWith('hangup@')) {
          for (const connection of server.connections) if (connection.id === session.id) connection._socket.destroy()
          return
        }
        taken.push({ to, raw, user: session.user ? String(session.user) : null, secure: session.secure, connection: session.id })
        done()
      })
    },
    ...options,
  })
  server.on('error', () => undefined)
  return { server, taken }
}

const listening = async (server: Server | SMTPServer): Promise<number> => {
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', () => done()))
  return (('server' in server ? server.server : server).address() as AddressInfo).port
}

/** Starts them all. */
export async function startPostOffice(): Promise<PostOffice & { stop: () => Promise<void> }> {
  const open = smtpServer()
  const guarded = smtpServer({ authOptional: false })
  const silent = createServer((socket) => socket.on('error', () => undefined))
  const closing = createServer((socket) => {
    socket.on('error', () => undefined).write('220 closing ESMTP\r\n')
    socket.on('data', () => socket.end())
  })
  const gone = createServer()
  const ports = {
    open: await listening(open.server),
    guarded: await listening(guarded.server),
    silent: await listening(silent),
    closing: await listening(closing),
    away: await listening(gone),
  }
  await new Promise((done) => gone.close(done))
  const texts: { body: string; authorization: string | null; key: string | null }[] = []
  const told = createHttp(async (request, response) => {
    if (request.method === 'GET')
      return response.end(JSON.stringify(request.url === '/texts' ? texts : [...open.taken, ...guarded.taken]))
    let body = ''
    for await (const chunk of request) body += chunk
    const status = Number(/^\/sms\/(\d+)$/.exec(request.url ?? '')?.[1] ?? 404)
    if (status === 200)
      texts.push({ body, authorization: request.headers.authorization ?? null, key: String(request.headers['idempotency-key']) })
    response.writeHead(status).end('so it is')
  })
  await new Promise<void>((done) => told.listen(0, '127.0.0.1', done))
  const stop = async () => {
    for (const { server } of [open, guarded]) server.close(() => undefined)
    for (const server of [silent, closing, told]) server.close()
    told.closeAllConnections()
  }
  return { ...ports, told: `http://127.0.0.1:${(told.address() as AddressInfo).port}`, stop }
}
