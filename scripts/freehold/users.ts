import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { Readable } from 'node:stream'
import type { Command } from 'commander'
import { z } from 'zod'
import { withTenant } from './api.ts'
import { TENANT_CREDENTIAL_SETTINGS } from './credentials.ts'
import { Failure } from './failure.ts'
import type { Globals } from './options.ts'
import { plain, print, printJson, tell } from './output.ts'

const Fault = z.object({ pointer: z.string(), detail: z.string() })
const Line = z.object({ line: z.int(), status: z.string(), code: z.string().optional(), errors: z.array(Fault).default([]) })
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

/** How many lines go by without a word. */
const QUIET = 1_000

/** The commands on the people of a tenant. */
export function addUsers(program: Command): void {
  const users = program.command('users').description('the people of a tenant')

  users
    .command('import')
    .description('move people in from another system; ends with 1 when a line failed or not all were looked at')
    .argument('<tenant>', 'its subdomain')
    .argument('<file>', 'one JSON object in each line: email, username, given_name, role, password_hash and so on')
    .option('--dry-run', 'say what would become of each line, and make nobody')
    .addHelpText(
      'after',
      `${TENANT_CREDENTIAL_SETTINGS}\nHashes may be of bcrypt or Django's pbkdf2_sha256. The same file can be sent again.`,
    )
    .action((tenant: string, file: string, { dryRun = false }: { dryRun?: boolean }, command: Command) =>
      move(tenant, file, dryRun, command.optsWithGlobals<Globals>()),
    )
}

async function move(tenant: string, file: string, dryRun: boolean, globals: Globals): Promise<void> {
  const found = await stat(file).catch(() => null)
  if (!found?.isFile()) throw new Failure(`${file} is not a file that can be read.`)
  const failures: z.infer<typeof Line>[] = []
  let summary: z.infer<typeof Summary> | undefined
  let seen = 0
  await withTenant(globals, tenant, async (api) => {
    const body = Readable.toWeb(createReadStream(file)) as ReadableStream<Uint8Array>
    for await (const said of api.lines(Report, `/users/import?dry_run=${dryRun}`, body)) {
      if ('summary' in said) {
        summary = said
        continue
      }
      if (++seen % QUIET === 0) tell(`${seen} lines, ${failures.length} failed`)
      if (said.status !== 'failed') continue
      failures.push(said)
      if (!globals.json)
        tell(`line ${said.line}: ${said.errors.map(({ pointer, detail }) => plain(`${pointer} ${detail}`)).join('; ')}`)
    }
  })
  if (!summary) throw new Failure('The answer broke off. Send the file again: who is there already is told as taken.')
  const { lines, created, failed, complete, detail = '' } = summary
  if (globals.json) printJson({ ...summary, failures })
  else print(`${lines} lines: ${created} ${dryRun ? 'would be made' : 'made'}, ${failed} failed.`)
  if (!complete) tell(plain(`Not all of the file was looked at. ${detail}`))
  if (!complete || failed > 0) process.exitCode = 1
}
