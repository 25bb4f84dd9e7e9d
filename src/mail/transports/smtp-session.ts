/**
 * An SMTP session (RFC 5321) over a Workers socket. Threat: somebody on the network reads passwords and links, or suppresses the
 * server's offer of TLS; so nothing is sent without TLS, except to this machine. A server that goes silent or closes must cost a
 * run seconds, not the isolate: every answer has a timeout, and the end of the stream ends the session.
 */
import { connect } from 'cloudflare:sockets'
import type { SmtpServer } from '../../kernel/config.ts'

/** Timeouts of each part of the session. With RUN_MS they add up to less than the minute for which a mail is leased. */
const OPENING_MS = 12_000
const ENVELOPE_MS = 10_000
/** Longer: after the end of the data the server is busy, and giving up means sending the mail twice. */
const MESSAGE_MS = 20_000
const MAX_REPLY = 64 * 1024
const LOOPBACK = ['localhost', '127.0.0.1', '::1']

export type Reply = { code: number; text: string }

/** The server is unreachable, silent, or refuses the login: the session is over. */
export class Lost extends Error {}

export class SmtpSession {
  #socket: Socket
  #reader: ReadableStreamDefaultReader<Uint8Array>
  #writer: WritableStreamDefaultWriter<Uint8Array>
  #heard = ''
  readonly #decoder = new TextDecoder()
  #offers: string[] = []
  /** The deadline of the current part of the session. */
  #until = Date.now() + OPENING_MS

  private constructor(socket: Socket) {
    this.#socket = socket
    this.#reader = socket.readable.getReader()
    this.#writer = socket.writable.getWriter()
    // The pending read or write fails as well; this promise is not awaited.
    socket.closed.catch(() => undefined)
  }

  /** Connects with TLS and logs in. Fails with Lost, whose message names SMTP_URL. */
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

  /** Whether the server offered an extension in its answer to EHLO. */
  offers = (keyword: string) => this.#offers.some((line) => line.split(' ')[0] === keyword)

  /** Begins a mail: sets the deadline of its envelope. */
  begin() {
    this.#until = Date.now() + ENVELOPE_MS
  }

  /** Sends one line and waits for the answer. Fails with Lost. */
  async say(line: string): Promise<Reply> {
    // A line break in a value would be a second command.
    if (/[\r\n\0]/.test(line)) throw new Error('A line of SMTP holds a line break.')
    await this.#write(`${line}\r\n`)
    return this.#reply()
  }

  /** Sends a whole message, none of whose lines may begin with a dot. */
  async sayMessage(message: string): Promise<Reply> {
    this.#until = Date.now() + MESSAGE_MS
    await this.#write(`${message}.\r\n`)
    return this.#reply()
  }

  /** Ends the session without waiting. */
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

  /** Awaits a promise until the deadline. Fails with Lost when it fails or is late. */
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
