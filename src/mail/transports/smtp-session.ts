/**
 * One conversation with an SMTP server (RFC 5321) over a socket of the platform. Threat: somebody on the way reads passwords and links, or keeps
 * the server from offering TLS; so nothing is said without TLS but to this machine. And a server that goes silent or away must cost a run
 * seconds, not the isolate: each answer is waited for so long, and a stream that ended is an end.
 */
import { connect } from 'cloudflare:sockets'
import type { SmtpServer } from '../../kernel/config.ts'

/** For each part of the conversation, so that with a run's own time a mail is settled within the minute for which it is held. */
const OPENING_MS = 12_000
const ENVELOPE_MS = 10_000
/** From the end of the data on the server is busy, and to give up would be to send twice. */
const MESSAGE_MS = 20_000
const MAX_REPLY = 64 * 1024
const LOOPBACK = ['localhost', '127.0.0.1', '::1']

export type Reply = { code: number; text: string }

/** The server is away, silent, or does not let us in: the conversation is over. */
export class Lost extends Error {}

export class SmtpSession {
  #socket: Socket
  #reader: ReadableStreamDefaultReader<Uint8Array>
  #writer: WritableStreamDefaultWriter<Uint8Array>
  #heard = ''
  readonly #decoder = new TextDecoder()
  #offers: string[] = []
  /** When the part of the conversation that is under way must be over. */
  #until = Date.now() + OPENING_MS

  private constructor(socket: Socket) {
    this.#socket = socket
    this.#reader = socket.readable.getReader()
    this.#writer = socket.writable.getWriter()
    // Whoever waits for an answer hears of it; nobody waits for this.
    socket.closed.catch(() => undefined)
  }

  /** Connects, with TLS, and logs in. Fails with Lost, in words that name SMTP_URL. */
  static async open({ host, port, secure, credentials }: SmtpServer, domain: string): Promise<SmtpSession> {
    let session: SmtpSession | undefined
    try {
      const socket = connect({ hostname: host, port }, { secureTransport: secure ? 'on' : 'starttls', allowHalfOpen: false })
      session = new SmtpSession(socket)
      await session.#within(socket.opened)
      must(await session.#reply(), 220)
      await session.#greet(domain)
      if (!secure) await session.#secure(domain, LOOPBACK.includes(host))
      if (credentials) await session.#logIn(credentials)
      return session
    } catch (error) {
      session?.close()
      throw new Lost(`SMTP_URL: ${error instanceof Error ? error.message : String(error)}`)
    }
  }

  /** Whether the server said in its greeting that it knows an extension. */
  offers = (keyword: string) => this.#offers.some((line) => line.split(' ')[0] === keyword)

  /** Begins a mail. */
  begin() {
    this.#until = Date.now() + ENVELOPE_MS
  }

  /** Says one line and waits for the answer. Fails with Lost. */
  async say(line: string): Promise<Reply> {
    // Whatever it holds, it is one line.
    if (/[\r\n\0]/.test(line)) throw new Error('A line of SMTP holds a line break.')
    await this.#write(`${line}\r\n`)
    return this.#reply()
  }

  /** Says a whole message, none of whose lines begins with a dot. */
  async sayMessage(message: string): Promise<Reply> {
    this.#until = Date.now() + MESSAGE_MS
    await this.#write(`${message}.\r\n`)
    return this.#reply()
  }

  /** Ends it, without waiting. */
  close() {
    this.#write('QUIT\r\n')
      .catch(() => undefined)
      .finally(() => this.#socket.close().catch(() => undefined))
  }

  async #greet(domain: string) {
    const { text } = must(await this.say(`EHLO ${domain}`), 250)
    this.#offers = text
      .split('\n')
      .slice(1)
      .map((line) => line.toUpperCase())
  }

  async #secure(domain: string, isHere: boolean) {
    if (!this.offers('STARTTLS')) {
      if (isHere) return
      throw new Error('the server offers no STARTTLS, and mail is not sent in clear; use smtps:// if it has a port for that')
    }
    must(await this.say('STARTTLS'), 220)
    if (this.#heard) throw new Error('the server went on in clear after STARTTLS')
    this.#reader.releaseLock()
    this.#writer.releaseLock()
    this.#socket = this.#socket.startTls()
    this.#socket.closed.catch(() => undefined)
    this.#reader = this.#socket.readable.getReader()
    this.#writer = this.#socket.writable.getWriter()
    await this.#greet(domain)
  }

  async #logIn({ username, password }: { username: string; password: string }) {
    const ways = this.#offers.find((line) => /^AUTH[ =]/.test(line)) ?? ''
    if (/\bPLAIN\b/.test(ways)) must(await this.say(`AUTH PLAIN ${base64(`\0${username}\0${password}`)}`), 235)
    else if (/\bLOGIN\b/.test(ways)) {
      must(await this.say('AUTH LOGIN'), 334)
      must(await this.say(base64(username)), 334)
      must(await this.say(base64(password)), 235)
    } else throw new Error('the server offers neither AUTH PLAIN nor AUTH LOGIN')
  }

  async #write(text: string) {
    await this.#within(this.#writer.write(new TextEncoder().encode(text)))
  }

  /** One answer, of one or more lines. */
  async #reply(): Promise<Reply> {
    for (;;) {
      const [whole, code, last] = /^(?:\d{3}-[^\n]*\n)*(\d{3})(?: ([^\n]*)|\r?)\n/.exec(this.#heard) ?? []
      if (whole && code) {
        this.#heard = this.#heard.slice(whole.length)
        if (code === '421') throw new Lost(`the server says ${code} ${last?.trim() ?? ''}`)
        const text = whole
          .split(/\r?\n/)
          .map((line) => line.slice(4))
          .join('\n')
          .trim()
        return { code: Number(code), text }
      }
      if (this.#heard.length > MAX_REPLY) throw new Lost('the server does not speak SMTP')
      const { done, value } = await this.#within(this.#reader.read())
      if (done) throw new Lost('the server closed the connection')
      this.#heard += this.#decoder.decode(value, { stream: true })
    }
  }

  /** The promise, or Lost when that takes too long or fails. */
  async #within<T>(promise: Promise<T>): Promise<T> {
    let timer: ReturnType<typeof setTimeout> | null = null
    const silence = new Promise<never>((_, fail) => {
      timer = setTimeout(() => fail(new Lost('the server does not answer')), Math.max(0, this.#until - Date.now()))
    })
    try {
      return await Promise.race([promise, silence])
    } catch (error) {
      throw error instanceof Lost ? error : new Lost(error instanceof Error ? error.message : String(error))
    } finally {
      clearTimeout(timer)
    }
  }
}

const base64 = (text: string) => btoa(Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join(''))

function must(reply: Reply, code: number): Reply {
  if (reply.code !== code) throw new Lost(`the server says ${reply.code} ${reply.text}`)
  return reply
}
