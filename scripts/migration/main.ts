import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { Command } from 'commander'
import { Failure } from '../freehold/failure.ts'
import { run } from '../freehold/run.ts'
import { startPostgres } from '../local-neon/postgres.ts'
import { temporaryFolder } from '../local-neon/temporary-folder.ts'
import { makeMigration } from './make.ts'

const HELP = `
Compares what every src/**/table.ts and src/**/*.sql make with what the migrations in drizzle/ make, and writes the next migration of each
database that changes. The comment at the top of the file lists its changes. Objects that are removed from the definitions stay for one
release and are dropped by the next migration, because the previous release runs on this schema during a deploy and after a rollback.

  npm run migration -- add_notes
  npm run migration -- job_titles --rename freehold.users.designation=job_title
  npm run migration -- no_notes --lose freehold.notes

What the Worker compares tenants with, drizzle/tenant/meta/fingerprint.json, and the checksums that it knows are written anew, also when there is no
migration.

Exit status: 0 when it wrote something, 1 when it did not, 2 for wrong usage.`

// A reader that has seen enough (`| head`) is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1))

type Chosen = { rename: string[]; lose: string[]; filled: string[]; sameRelease?: true; postgres?: string }

const collect = (value: string, list: string[]) => [...list, value]

const program = new Command('npm run migration --')
  .description('Makes the next database migration from tables and definitions')
  .argument('<name>', 'lower-case words with _ between them, such as add_notes')
  .option(
    '--rename <old=new>',
    'renames a table or column: schema.table=name or schema.table.column=name; can be repeated',
    collect,
    [],
  )
  .option(
    '--lose <name>',
    'accepts that the data of a table or column is lost: schema.table or schema.table.column; can be repeated',
    collect,
    [],
  )
  .option(
    '--filled <name>',
    'says that every row has a value in a column that becomes not null: schema.table.column; can be repeated',
    collect,
    [],
  )
  .option('--same-release', 'ships in the same release as the previous migration: what that one retired is not dropped yet')
  .option('--postgres <url>', 'connection string of a superuser of a running Postgres; default: a temporary one is started')
  .addHelpText('after', HELP)
  .exitOverride()
  .action(async (name: string, options: Chosen) => {
    const root = process.cwd()
    if (!existsSync(join(root, 'src'))) throw new Failure(`There is no src in ${root}. Run this in the folder of the project.`)
    const tell = (line: string) => process.stderr.write(`${line}\n`)
    const server = options.postgres ? { url: options.postgres, stop: async () => {} } : await temporaryServer(tell)
    try {
      const { rename, lose, filled } = options
      const same_release = options.sameRelease ?? false
      const paths = await makeMigration({ root, name, url: server.url, rename, lose, filled, same_release, tell })
      for (const path of paths) process.stdout.write(`${path}\n`)
    } finally {
      await server.stop()
    }
  })

async function temporaryServer(tell: (line: string) => void) {
  tell('Starting Postgres.')
  const folder = await temporaryFolder('freehold-migration')
  const server = await startPostgres({ dataDir: folder.path, durable: false })
  const stop = async () => {
    await server.stop()
    await folder.remove()
  }
  return { url: server.url, stop }
}

await run(program, ({ message }) => void process.stderr.write(`${message}\n`))
