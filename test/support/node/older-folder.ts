/**
 * The data folder that is kept of an older commit, unpacked as its owner would have it. It was made on one day and is started on another, and sessions
 * end: so the dates of users and sessions are moved, as if that day were today.
 */
import { chmod, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Client } from 'pg'
import { runAs } from '../../../scripts/local-neon/cluster/run-as.ts'
import { startPostgres } from '../../../scripts/local-neon/postgres.ts'
import { temporaryFolder } from '../../../scripts/local-neon/temporary-folder.ts'
import { unpack } from '../../../scripts/release/archive.ts'
import type { KeptData } from '../../../scripts/release/data.ts'
import { pathsOf } from '../../../scripts/release/kept.ts'

export type OlderFolder = { path: string; kept: KeptData; remove: () => Promise<void> }

const DATABASES = ['freehold_acme', 'freehold_closed', 'freehold_demo', 'freehold_master']

/** Unpacks what is kept into a folder of its own. */
export async function olderFolder(): Promise<OlderFolder> {
  const { about, contents } = pathsOf('data')
  const kept = JSON.parse(await readFile(about, 'utf8')) as KeptData
  const { path, remove } = await temporaryFolder('freehold-older')
  await unpack(contents, path)
  await chmod(path, 0o700)
  // Postgres refuses a folder that is not its user's own.
  const cluster = join(path, 'postgres')
  const user = await runAs()
  for (const file of ['', ...(await readdir(cluster, { recursive: true }))]) await user.own(join(cluster, file))
  await moveDates(path, Date.now() - Date.parse(kept.made_at))
  return { path, kept, remove }
}

/**
 * Moves all dates of users, sessions and their tokens by this many milliseconds, in a folder that nobody has started. No trigger takes it for a
 * change.
 */
export const moveDates = (path: string, ms: number) =>
  inFolder(path, async (url) => {
    for (const database of DATABASES) await run(url, database, movedBy(ms))
  })

const movedBy = (ms: number) => `
  set session_replication_role = replica;
  do $$
  declare
    c record;
  begin
    for c in
      select table_name, string_agg(format('%1$I = %1$I + interval ''${ms} ms''', column_name), ', ') as moves
      from information_schema.columns
      where table_schema = 'freehold' and table_name in ('users', 'sessions', 'refresh_tokens')
        and data_type = 'timestamp with time zone' and is_generated = 'NEVER'
      group by table_name
    loop
      execute format('update freehold.%I set %s', c.table_name, c.moves);
    end loop;
  end $$`

/** Works in the databases of a folder that nobody has started, as its superuser. */
export async function inFolder(path: string, work: (url: string) => Promise<unknown>) {
  const postgres = await startPostgres({ dataDir: path, durable: false })
  try {
    await work(postgres.url)
  } finally {
    await postgres.stop()
  }
}

/** Runs SQL in a database of a cluster. */
export async function run(url: string, database: string, text: string, values: unknown[] = []): Promise<any[]> {
  const client = new Client({ connectionString: Object.assign(new URL(url), { pathname: `/${database}` }).href })
  await client.connect()
  try {
    return (await client.query(text, values)).rows
  } finally {
    await client.end()
  }
}
