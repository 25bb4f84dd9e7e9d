/** Threat: a deployment with an asset that its Worker does not take, which nobody notices before the Worker answers 503. */
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { ASSETS, assemble } from '../../scripts/bundle/assets.ts'
import { ROOT } from './running.ts'

const root = mkdtempSync(join(tmpdir(), 'freehold-assets-'))
const MIGRATION = 'drizzle/tenant/0001_cost.sql'
const COPIED = ['drizzle/tenant', 'src/passwords/commonest-packed.txt', 'src/tenants/provisioning/bundled.ts']

beforeAll(() => {
  for (const path of COPIED) {
    mkdirSync(join(root, dirname(path)), { recursive: true })
    cpSync(join(ROOT, path), join(root, path), { recursive: true })
  }
  symlinkSync(join(ROOT, 'node_modules'), join(root, 'node_modules'))
})
afterAll(() => rmSync(root, { recursive: true }))

/** Assembles with a file that is changed, and puts it back. */
async function assembledWith(path: string, change: (text: string) => string) {
  const text = readFileSync(join(root, path), 'utf8')
  writeFileSync(join(root, path), change(text))
  try {
    await assemble(root)
  } finally {
    writeFileSync(join(root, path), text)
  }
}

it.each([
  [
    'CRLF for line ends',
    MIGRATION,
    (text: string) => text.replaceAll('\n', '\r\n'),
    /0001_cost\.sql .* end in CRLF: check .* out with LF/,
  ],
  [
    'another statement',
    MIGRATION,
    (text: string) => `${text};`,
    /0001_cost\.sql has the SHA-256 \w{64}, .* changed without its checksum/,
  ],
  ['fewer passwords', COPIED[1] ?? '', (text: string) => text.slice(9), /commonest-packed\.txt has the SHA-256/],
  [
    'a checksum less',
    COPIED[2] ?? '',
    (text: string) => text.replace(/.*0001_cost.*\n/, ''),
    /0001_cost\.sql is unknown to the Worker/,
  ],
])('a file with %s is refused, and nothing is assembled', async (_, path, change, said) => {
  await expect(assembledWith(path, change)).rejects.toThrow(said)
  expect(existsSync(join(root, ASSETS, MIGRATION))).toBe(false)
})

it('the files as they are checked out are assembled', async () => {
  await assemble(root)
  for (const path of [MIGRATION, 'documents/all.json', 'pages/rules.css'])
    expect(readFileSync(join(root, ASSETS, path)).length).toBeGreaterThan(500)
})
