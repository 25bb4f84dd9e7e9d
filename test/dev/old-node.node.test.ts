/** What somebody reads whose Node is too old, or whose `npm ci` ran no install scripts: a copy of the first program, in folders like theirs. */
import { execFileSync, spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { ROOT } from './running.ts'

const folder = mkdtempSync(join(tmpdir(), 'freehold-old-node-'))
const at = (path: string) => join(folder, path)
/** The PATH without the Node that the repository brings. */
const PATH = (process.env.PATH ?? '')
  .split(delimiter)
  .filter((part) => !part.includes('node_modules'))
  .join(delimiter)

/** The version of the machine's own Node where it is too old, or null. */
function oldNode(): string | null {
  try {
    const version = execFileSync('node', ['-p', 'process.versions.node'], { env: { PATH }, encoding: 'utf8' }).trim()
    const [major = 0, minor = 0] = version.split('.').map(Number)
    return major < 22 || (major === 22 && minor < 18) ? version : null
  } catch {
    return null
  }
}
const old = oldNode()

beforeEach(() => {
  rmSync(folder, { recursive: true, force: true })
  for (const path of ['scripts/dev', 'scripts/freehold']) mkdirSync(at(path), { recursive: true })
  copyFileSync(join(ROOT, 'scripts/node.mjs'), at('scripts/node.mjs'))
  for (const program of ['scripts/dev/main.ts', 'scripts/freehold/main.ts'])
    writeFileSync(at(program), `const given: string[] = process.argv.slice(2)\nconsole.log('ran', ...given)\n`)
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const install = (...paths: string[]) => {
  for (const path of paths) mkdirSync(at(join('node_modules', path)), { recursive: true })
}
const run = (node: string, ...args: string[]) => {
  const { status, stdout, stderr } = spawnSync(node, ['scripts/node.mjs', ...args], {
    cwd: folder,
    env: { PATH },
    encoding: 'utf8',
  })
  return { status, stdout, stderr }
}
const START = 'scripts/dev/main.ts'
const CLI = 'scripts/freehold/main.ts'

test('npm start, npm run freehold and npm test begin with it', () => {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
  expect(scripts.start).toBe(`exec node scripts/node.mjs ${START}`)
  expect(scripts.freehold).toBe(`node scripts/node.mjs ${CLI}`)
  expect(scripts.test).toMatch(/^node scripts\/node\.mjs && vitest run /)
})

describe('on a Node that reads TypeScript', () => {
  const here = process.execPath

  test('a program is run with its arguments', () => {
    install('commander', 'node/bin/node')
    expect(run(here, START, '--port', '8788')).toEqual({ status: 0, stdout: 'ran --port 8788\n', stderr: '' })
    expect(run(here)).toEqual({ status: 0, stdout: '', stderr: '' })
  })

  test('without dependencies, npm ci is named', () => {
    expect(run(here, START)).toEqual({
      status: 1,
      stdout: '',
      stderr: 'The dependencies of Freehold are not installed: run npm ci.\n',
    })
  })

  test('without install scripts, npm rebuild is named; the command line needs none', () => {
    install('commander', 'node')
    const stderr =
      'The install scripts of the dependencies did not run (--ignore-scripts), so Postgres is not complete: run npm rebuild.\n'
    expect(run(here, START)).toEqual({ status: 1, stdout: '', stderr })
    expect(run(here)).toEqual({ status: 1, stdout: '', stderr })
    expect(run(here, CLI, 'presets')).toEqual({ status: 0, stdout: 'ran presets\n', stderr: '' })
  })
})

describe.skipIf(old === null)('on an older Node', () => {
  const needs = `Freehold needs Node 22.18 or later, and this is ${old}`

  test.for([[START], [CLI], []])('one sentence says which is needed, and npm rebuild (%o)', (args) => {
    install('commander', 'node')
    expect(run('node', ...args)).toEqual({
      status: 1,
      stdout: '',
      stderr: `${needs}: its dependencies bring a newer one, but their install scripts did not run (--ignore-scripts), so run npm rebuild.\n`,
    })
  })

  test('outside npm, which would use the newer one, npm is named', () => {
    install('commander', 'node/bin/node')
    expect(run('node', CLI)).toEqual({
      status: 1,
      stdout: '',
      stderr: `${needs}: start it with npm, which uses the Node of its dependencies.\n`,
    })
  })
})
