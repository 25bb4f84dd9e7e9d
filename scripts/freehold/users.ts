import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { z } from 'zod'
import { withTenant } from './api.ts'
import type { Command } from './command.ts'
import { TENANT_CREDENTIAL_SETTINGS } from './credentials.ts'
import { Failure } from './failure.ts'
import type { Globals } from './options.ts'
import { plain, print, printJson, tell } from './output.ts'
import { addPeople, findUser, WHO } from './people.ts'
import { addTenant, inTenant, type OnPlane } from './planes.ts'

const Issue = z.object({ pointer: z.string(), detail: z.string() })
const Line = z.object({
  line: z.int(),
  status: z.string(),
  code: z.string().optional(),
  errors: z.array(Issue).default([]),
  warnings: z.array(Issue).default([]),
})
const Summary = z.object({
  summary: z.literal(true),
  dry_run: z.boolean(),
  lines: z.int(),
  created: z.int(),
  failed: z.int(),
  complete: z.boolean(),
  code: z.string().optional(),
  detail: z.string().optional(),
})
const Report = z.union([Summary, Line])

/** Progress is shown every so many lines. */
const PROGRESS_LINES = 1_000

/** The commands on the users of a tenant. */
export function addUsers(program: Command): void {
  const users = program
    .command('users')
    .description('list, show, create, update, import, deactivate and unlock the users of a tenant, and reset their passwords')
    .addHelpText('afterAll', TENANT_CREDENTIAL_SETTINGS)
  addPeople(users, { noun: 'user', make: 'create', suffix: ' --tenant acme', of: addTenant, on: inTenant })

  const unlocking = addTenant(
    users.command('unlock').description('clear the lockouts of a user, so that they can log in at once'),
  )
  unlocking
    .argument('<user>', WHO)
    .example('ann@example.com --tenant acme')
    .action((name: string, _, command: Command) => {
      const options = command.optsWithGlobals<OnPlane>()
      return inTenant(options, async (api, at) => {
        const { id, email } = await findUser(api, at, name)
        await api.call(z.unknown(), 'POST', `${at}/${id}/unlock`)
        if (options.json) printJson({ id, state: 'unlocked' })
        else tell(`${plain(email)} can log in again.`)
      })
    })

  users
    .command('import')
    .description('import users from another system; exits with 1 when a line failed or was not processed')
    .example('acme people.ndjson --dry-run')
    .argument('<tenant>', 'its subdomain')
    .argument('<file>', 'one JSON object in each line: email, username, given_name, role, password_hash and so on')
    .option('--dry-run', 'report the result of each line without creating users')
    .addHelpText(
      'after',
      `
Password hashes: bcrypt or Django's pbkdf2_sha256. A user whose hash costs too much (bcrypt above 14, PBKDF2 above 1,500,000 iterations) is created without a password, and their line says so. The same file can be sent again: existing users are reported as duplicates.`,
    )
    .action((tenant: string, file: string, { dryRun = false }: { dryRun?: boolean }, command: Command) =>
      importUsers(tenant, file, dryRun, command.optsWithGlobals<Globals>()),
    )
}

async function importUsers(tenant: string, file: string, dryRun: boolean, globals: Globals): Promise<void> {
  const found = await stat(file).catch(() => null)
  if (!found?.isFile()) throw new Failure(`${file} is not a file that can be read.`)
  const failures: z.infer<typeof Line>[] = []
  const warned: z.infer<typeof Line>[] = []
  let summary: z.infer<typeof Summary> | undefined
  let seen = 0
  await withTenant(globals, tenant, async (api) => {
    const body = Readable.toWeb(createReadStream(file)) as ReadableStream<Uint8Array>
    for await (const said of api.lines(Report, `/users/import?dry_run=${dryRun}`, body)) {
      if ('summary' in said) {
        summary = said
        continue
      }
      if (++seen % PROGRESS_LINES === 0) tell(`${seen} lines, ${failures.length} failed`)
      if (said.status === 'failed') failures.push(said)
      else if (said.warnings.length) warned.push(said)
      else continue
      if (!globals.json)
        tell(
          `line ${said.line}: ${[...said.errors, ...said.warnings].map(({ pointer, detail }) => plain(`${pointer} ${detail}`)).join('; ')}`,
        )
    }
  })
  if (!summary) throw new Failure('The answer broke off. Send the file again: existing users are reported as duplicates.')
  const { lines, created, failed, complete, detail = '' } = summary
  if (globals.json) printJson({ ...summary, failures, warned })
  else print(`${lines} lines: ${created} ${dryRun ? 'would be created' : 'created'}, ${failed} failed.`)
  if (!complete) tell(plain(`Not all of the file was processed. ${detail}`))
  if (!complete || failed > 0) process.exitCode = 1
}
