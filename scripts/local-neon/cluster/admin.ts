import { Client, escapeIdentifier, Pool } from 'pg'

const STATE = 'local_neon'

export interface Admin {
  /** Connections to the database of the local Neon's own state. */
  pool: Pool
  /** Runs one or more statements as the superuser. */
  run(sql: string): Promise<void>
  /** The same in a given database, on a connection that is closed afterwards. */
  runIn(database: string, sql: string): Promise<void>
  /** Every database and role name that the cluster has. */
  names(): Promise<{ databases: string[]; roles: string[] }>
  stop(): Promise<void>
}

/** Opens the superuser's connections. Creates the state database if it is missing. */
export async function openAdmin(url: string): Promise<Admin> {
  await ensureStateDatabase(url)
  const { hostname: host, port, username: user, password } = new URL(url)
  const login = { host, port: Number(port), user, password }
  const pool = new Pool({ ...login, database: STATE, max: 4, idleTimeoutMillis: 60_000 })
  pool.on('error', () => undefined)
  return {
    pool,
    async run(sql) {
      const client = await pool.connect()
      try {
        await client.query(sql)
        client.release()
      } catch (error) {
        // It may be inside a transaction that failed.
        client.release(true)
        throw error
      }
    },
    async runIn(database, sql) {
      const client = new Client({ ...login, database })
      client.on('error', () => undefined)
      await client.connect()
      try {
        await client.query(sql)
      } finally {
        await client.end()
      }
    },
    async names() {
      const [databases, roles] = await Promise.all([
        pool.query<{ name: string }>('select datname as name from pg_database'),
        pool.query<{ name: string }>('select rolname as name from pg_roles'),
      ])
      return { databases: databases.rows.map(({ name }) => name), roles: roles.rows.map(({ name }) => name) }
    },
    stop: () => pool.end(),
  }
}

async function ensureStateDatabase(url: string) {
  const client = new Client({ connectionString: url })
  await client.connect()
  const { rowCount } = await client.query('select from pg_database where datname = $1', [STATE])
  if (rowCount === 0) await client.query(`create database ${escapeIdentifier(STATE)} strategy file_copy`)
  await client.query(`revoke connect, temporary on database ${escapeIdentifier(STATE)} from public`)
  await client.end()
}
