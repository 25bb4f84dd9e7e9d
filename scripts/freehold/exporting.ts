import { execFile } from 'node:child_process'
import { open, rename, rm } from 'node:fs/promises'
import { promisify } from 'node:util'
import { writeArchive } from './archive.ts'
import type { Command } from './command.ts'
import { Failure } from './failure.ts'
import type { Globals } from './options.ts'
import { plain, print, printJson, tell } from './output.ts'
import { localSettings } from './settings.ts'

/** The command that takes all of a tenant into a file. */
export function addExporting(tenants: Command): void {
  tenants
    .command('export')
    .description('write all of a tenant, its schema and its rows, to a file that pg_restore reads')
    .example('acme acme.dump')
    .argument('<tenant>', 'its id or subdomain')
    .argument('<file>', 'the file; one that exists is not replaced')
    .addHelpText(
      'after',
      `
Settings of the environment:
  MASTER_DATABASE_URL  the master database
  ENCRYPTION_KEYS      the key ring of the Worker
  OWNER_KEYS           its key ring for owner logins
  NEON_SQL_URL         only for a local Neon: its URL for SQL over HTTP; https://, unless it is this machine or with --insecure
Without them: those of a local \`npm start\` that runs (see --data).

The file has everything: addresses, hashes of passwords and keys, the audit. Only its owner may read it. The audit of the platform notes
the export. It fails when rows are written meanwhile: deactivate or delete the tenant first. Schema and grants are as the migrations make them; logins are
not in it. Restore it with pg_restore of Postgres 12 or later into an empty database:
  pg_restore --exit-on-error --dbname "$DATABASE_URL" file`,
    )
    .action((tenant: string, file: string, _, command: Command) => write(tenant, file, command.optsWithGlobals<Globals>()))
}

async function write(tenant: string, file: string, globals: Globals): Promise<void> {
  const config = await localSettings(globals)
  // Loaded for this command only: the others need no database driver, and start faster without.
  const { dbError, useSqlUrl } = await import('../../src/kernel/db.ts')
  const { newTraceId } = await import('../../src/http/trace.ts')
  const { beginExport } = await import('../../src/tenants/export/export.ts')
  const { madeByMigrations, migrationsIn } = await import('../dev/stack.ts')
  useSqlUrl(config.NEON_SQL_URL)
  const schema = { migrations: await migrationsIn('tenant'), made: await madeByMigrations() }
  const inWords = (error: Error) => {
    // The message of a failed query contains its parameters; only the database's own message is shown.
    throw error instanceof Failure ? error : new Failure(dbError(error)?.message ?? plain(error.message))
  }
  const handle = await open(file, 'wx', 0o600).catch((error: NodeJS.ErrnoException) => {
    throw new Failure(
      error.code === 'EEXIST' ? `${file} exists: choose another name.` : `${file} cannot be written: ${error.code}.`,
    )
  })
  await handle.close()
  const draft = `${file}.partial`
  const out = await open(draft, 'wx', 0o600).catch(async (error: NodeJS.ErrnoException) => {
    await rm(file, { force: true })
    throw new Failure(
      error.code === 'EEXIST'
        ? `${draft} exists: another export writes it, or one was broken off. Choose another name, or delete it.`
        : `${draft} cannot be written: ${error.code}.`,
    )
  })
  try {
    const exported = await beginExport(config, tenant, schema, newTraceId()).catch(inWords)
    const rows = await writeArchive(out, exported, (table) => tell(`Writing ${table} ...`))
      .then(() => exported.check())
      .catch(inWords)
      .finally(() => out.close())
    await rename(draft, file)
    const listed = await listing(file)
    const { id, subdomain, schema_version, drifted } = exported
    if (globals.json) return printJson({ id, subdomain, file, schema_version, drifted, listed, rows })
    const count = Object.values(rows).reduce((sum, n) => sum + n, 0)
    print(`${subdomain} is in ${file}: ${Object.keys(rows).length} tables, ${count} rows, schema ${schema_version}.`)
    if (drifted)
      tell(`${drifted} objects of its database are not as the migrations make them; in the file they are as the migrations do.`)
    if (process.platform === 'win32') tell('Who may read it is decided by its folder: Windows has no files of mode 0600.')
    tell(
      listed
        ? 'pg_restore reads it.'
        : 'There is no pg_restore here to read it with: try `pg_restore --list` where there is one.',
    )
  } catch (error) {
    await out.close()
    await rm(draft, { force: true })
    await rm(file, { force: true })
    throw error
  }
}

/** Whether pg_restore reads the file. False: there is none. Fails when it does not. */
async function listing(file: string): Promise<boolean> {
  return promisify(execFile)('pg_restore', ['--list', file]).then(
    () => true,
    (error: NodeJS.ErrnoException & { stderr?: string }) => {
      if (error.code === 'ENOENT') return false
      throw new Failure(`pg_restore does not read the file: ${plain(error.stderr ?? error.message).trim()}`)
    },
  )
}
