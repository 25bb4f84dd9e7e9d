/** Examples of --help, typed into a shell in front of a platform of its own, in the order of a tenant's life. */
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { commandLine } from '../../scripts/freehold/program.ts'
import { leavesOf } from './commands.ts'
import { OPERATOR, startPlatform } from './door.ts'
import { ended, MAIN } from './run.ts'

/** Those that need neither a terminal, nor Cloudflare, nor the id of something that is made up in the example. */
const STORY = [
  'whoami',
  'profiles list',
  'presets',
  'completion',
  'keys new',
  'plans create',
  'plans list',
  'plans show',
  'plans update',
  'tenants create',
  'tenants list',
  'tenants show',
  'tenants usage',
  'tenants limits',
  'tenants change',
  'tenants licenses give',
  'tenants licenses list',
  'audit checkpoints',
  'analytics',
  'migrate plan',
  'tenants rotate-signing-key',
  'tenants deactivate',
  'tenants activate',
  'tenants delete',
]
const ADMIN_PASSWORD = 'Quiet-harbour-31'
const leaves = leavesOf(commandLine())
const examples = STORY.flatMap((words) => {
  const leaf = leaves.find(({ path }) => path === `freehold ${words}`)
  if (!leaf) throw new Error(`There is no command ${words}.`)
  return leaf.examples.map((line) => `${leaf.path} ${line}`.trim())
})

let platform: Awaited<ReturnType<typeof startPlatform>>
const folder = mkdtempSync(join(tmpdir(), 'freehold-examples-'))

beforeAll(async () => {
  platform = await startPlatform()
}, 240_000)
afterAll(async () => {
  await platform?.stop()
  rmSync(folder, { recursive: true })
})

/** Types a line into a shell that knows the command by its name. The databases are in this process, which must not wait for it. */
async function typed(line: string, input = '') {
  const { PATH = '' } = process.env
  const env = {
    PATH,
    XDG_CONFIG_HOME: platform.configFolder,
    FREEHOLD_ADMIN_PASSWORD: ADMIN_PASSWORD,
    ...(line.startsWith('freehold audit') && {
      FREEHOLD_URL: platform.url,
      FREEHOLD_TENANT_EMAIL: 'ada@acme.test',
      FREEHOLD_TENANT_PASSWORD: ADMIN_PASSWORD,
    }),
  }
  const child = spawn('sh', ['-c', `freehold() { '${process.execPath}' '${MAIN}' "$@"; }\n${line}`], { cwd: folder, env })
  child.stdin.end(input)
  return ended(child)
}

test('every example of the story ends well, as it is typed', async () => {
  const login = `freehold login --url ${platform.url} --email ${OPERATOR.email} --password-stdin`
  expect(await typed(login, OPERATOR.password)).toMatchObject({ code: 0 })
  const failed: string[] = []
  for (const line of examples) {
    const { code, stderr } = await typed(line)
    if (code !== 0) failed.push(`${line}: ${code} ${stderr}`)
  }
  expect(failed).toEqual([])
  expect(examples.length).toBeGreaterThan(28)
}, 600_000)
