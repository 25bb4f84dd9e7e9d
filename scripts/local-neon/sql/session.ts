import { connect } from 'node:net'
import { Client } from 'pg'
import { pipeline, type Result, type Statement } from './pipeline.ts'

export interface Session {
  /** Runs statements, each by the extended protocol, all in one round trip. The first failure ends it. */
  execute(statements: Statement[], maxBytes: number): Promise<Result[]>
  /** Runs statements of ours that need no parameters, in one message. */
  run(sql: string): Promise<void>
  /** Asks Postgres to stop what the session is doing. */
  cancel(): void
  end(): void
  /** Resolves when the connection is gone, whoever ended it. */
  closed: Promise<void>
}

export interface SessionOptions {
  port: number
  database: string
  user: string
  password: string
  onEnd: (session: Session) => void
}

/** The statements by which Neon's proxy resets a session, so that nothing survives a request. */
export const RESET = `
  ROLLBACK; CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; DEALLOCATE ALL; UNLISTEN *;
  SELECT pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES`

const CONNECT_MS = 20_000

/** Connects over TCP, so that Postgres itself checks the password. */
export async function openSession({ port, database, user, password, onEnd }: SessionOptions): Promise<Session> {
  const client = new Client({ host: '127.0.0.1', port, database, user, password, connectionTimeoutMillis: CONNECT_MS })
  let over = false
  const closed = new Promise<void>((done) => {
    client.once('end', () => {
      over = true
      done()
    })
  })
  // A connection that is lost while idle reports here; the pool notices by `closed`.
  client.on('error', () => undefined)
  await client.connect()
  const { processID, secretKey } = client as Client & { processID: number; secretKey: number }

  const session: Session = {
    async execute(statements, maxBytes) {
      if (over) throw new Error('the connection has ended')
      return new Promise((done, fail) => client.query(pipeline(statements, maxBytes, done, fail)))
    },
    run: async (sql) => void (await client.query(sql)),
    cancel() {
      const request = Buffer.alloc(16)
      for (const [place, value] of [16, CANCEL_CODE, processID, secretKey].entries()) request.writeInt32BE(value, place * 4)
      connect(port, '127.0.0.1')
        .on('error', () => undefined)
        .end(request)
    },
    end: () => void client.end().catch(() => undefined),
    closed,
  }
  void closed.then(() => onEnd(session))
  return session
}

const CANCEL_CODE = 80_877_102
