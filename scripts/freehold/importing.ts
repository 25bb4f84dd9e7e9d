import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { z } from 'zod'
import { withTenant } from './api.ts'
import { Failure } from './failure.ts'
import type { Globals } from './options.ts'
import { plain, print, printJson, tell } from './output.ts'

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

/** Sends a file to an import of a tenant and tells what its report says; `noun`: of what is imported. */
export async function importFile(
  globals: Globals,
  tenant: string,
  file: string,
  { path, noun, type, dryRun }: { path: string; noun: string; type: string; dryRun: boolean },
): Promise<void> {
  const found = await stat(file).catch(() => null)
  if (!found?.isFile()) throw new Failure(`${file} is not a file that can be read.`)
  const failures: z.infer<typeof Line>[] = []
  const warned: z.infer<typeof Line>[] = []
  let summary: z.infer<typeof Summary> | undefined
  let seen = 0
  await withTenant(globals, tenant, async (api) => {
    const body = Readable.toWeb(createReadStream(file)) as ReadableStream<Uint8Array>
    for await (const said of api.lines(Report, `${path}?dry_run=${dryRun}`, body, type)) {
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
  if (!summary) throw new Failure(`The answer broke off. Send the file again: existing ${noun} are reported as duplicates.`)
  const { lines, created, failed, complete, detail = '' } = summary
  if (globals.json) printJson({ ...summary, failures, warned })
  else print(`${lines} lines: ${created} ${dryRun ? 'would be created' : 'created'}, ${failed} failed.`)
  if (!complete) tell(plain(`Not all of the file was processed. ${detail}`))
  if (!complete || failed > 0) process.exitCode = 1
}
