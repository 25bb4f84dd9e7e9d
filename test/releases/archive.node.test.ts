/** Threat: what is kept comes back with other contents or modes, and Postgres or a test refuses it for that. */
import { spawn } from 'node:child_process'
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { pack, unpack } from '../../scripts/release/archive.ts'
import { ROOT } from '../house/sources.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'freehold-archive-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

describe('a packed folder', () => {
  it('comes back with contents, modes and empty folders, and what is there twice is kept once', async () => {
    const from = join(folder, 'from')
    const noise = Buffer.from(crypto.getRandomValues(new Uint8Array(60_000)))
    for (const name of ['one', 'two']) {
      await mkdir(join(from, name), { recursive: true })
      await writeFile(join(from, name, '1259'), noise, { mode: 0o600 })
    }
    await mkdir(join(from, 'empty'), { mode: 0o700 })
    await writeFile(join(from, 'a name with\nspaces'), '')
    await chmod(join(from, 'one'), 0o700)
    const file = join(folder, 'packed')
    await pack(from, file)
    expect((await stat(file)).size).toBeLessThan(1.5 * noise.length)

    const to = join(folder, 'to')
    await mkdir(to)
    await unpack(file, to)
    expect((await readdir(to, { recursive: true })).sort()).toEqual((await readdir(from, { recursive: true })).sort())
    expect(await readFile(join(to, 'two/1259'))).toEqual(noise)
    const modes = await Promise.all(['one', 'empty', 'one/1259'].map(async (path) => (await stat(join(to, path))).mode & 0o777))
    expect(modes).toEqual([0o700, 0o700, 0o600])
  })

  it('that is broken is refused', async () => {
    const file = join(folder, 'broken')
    await writeFile(file, 'no archive')
    await expect(unpack(file, folder)).rejects.toThrow()
  })
})

describe('npm run release:keep', () => {
  const keep = (...args: string[]) =>
    new Promise<{ code: number | null; out: string; err: string }>((done) => {
      const child = spawn(process.execPath, ['scripts/release/main.ts', ...args], { cwd: ROOT })
      let [out, err] = ['', '']
      child.stdout.on('data', (part) => {
        out += part
      })
      child.stderr.on('data', (part) => {
        err += part
      })
      child.once('close', (code) => done({ code, out, err }))
    })

  it('explains itself', async () => {
    const { code, out } = await keep('--help')
    expect(code).toBe(0)
    expect(out).toContain('npm run release:keep -- --data')
  })

  it.each([
    ['a commit that is not there', ['no-such-commit'], 1, /^There is no commit no-such-commit /],
    ['an option for a commit', ['--', '--output=x'], 1, /^There is no commit --output=x /],
    ['an option that is unknown', ['--nothing'], 2, /--nothing/],
  ] as const)('refuses %s in one line', async (_, args, code, words) => {
    const ended = await keep(...args)
    expect({ code: ended.code, out: ended.out, lines: ended.err.trim().split('\n').length }).toEqual({ code, out: '', lines: 1 })
    expect(ended.err).toMatch(words)
  })
})
