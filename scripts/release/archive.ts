import { spawn } from 'node:child_process'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { basename, join, relative } from 'node:path'
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib'

/** 128 MiB: databases are copies of each other, and what was seen once is found again as far back as this. */
const WINDOW_LOG = 27

/**
 * Writes a folder's contents into one file: a tar that is compressed with zstd. Files of one name follow each other, because a table of one database is
 * nearly that of the next. Owners and times are left out, modes are kept.
 */
export async function pack(folder: string, file: string): Promise<void> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const pathOf = (entry: (typeof entries)[number]) => relative(folder, join(entry.parentPath, entry.name))
  const folders = entries.filter((entry) => entry.isDirectory()).map(pathOf)
  const files = entries.filter((entry) => entry.isFile()).map(pathOf)
  const byName = (a: string, b: string) => (`${basename(a)}/${a}` < `${basename(b)}/${b}` ? -1 : 1)
  const list = [...folders.sort(), ...files.sort(byName)].join('\0')
  const nobody = ['--owner=0', '--group=0', '--numeric-owner', '--mtime=@0']
  const tar = await run('tar', ['-c', '-C', folder, ...nobody, '--no-recursion', '--null', '-T', '-'], Buffer.from(list))
  const params = {
    [constants.ZSTD_c_compressionLevel]: 19,
    [constants.ZSTD_c_windowLog]: WINDOW_LOG,
    [constants.ZSTD_c_enableLongDistanceMatching]: 1,
  }
  await writeFile(file, zstdCompressSync(tar, { params }))
}

/** Unpacks a file of `pack` into a folder that exists. All of it belongs to who runs this. */
export async function unpack(file: string, folder: string): Promise<void> {
  const params = { [constants.ZSTD_d_windowLogMax]: WINDOW_LOG }
  const tar = zstdDecompressSync(await readFile(file), { params })
  await run('tar', ['-x', '-p', '--no-same-owner', '-C', folder, '-f', '-'], tar)
}

/** Runs a program with this input, and returns what it wrote. Fails with its words. */
function run(program: string, args: string[], input: Buffer): Promise<Buffer> {
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] })
  const out: Buffer[] = []
  const err: Buffer[] = []
  child.stdout.on('data', (part) => out.push(part))
  child.stderr.on('data', (part) => err.push(part))
  // A program that ends early says why itself.
  child.stdin.on('error', () => undefined)
  child.stdin.end(input)
  return new Promise((done, fail) => {
    child.once('error', fail)
    child.once('close', (code) =>
      code === 0 ? done(Buffer.concat(out)) : fail(new Error(`${program} failed: ${Buffer.concat(err).toString().trim()}`)),
    )
  })
}
