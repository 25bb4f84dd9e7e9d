import { execFile } from 'node:child_process'
import { mkdir, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { ROOT } from './checkout.ts'

export type Kept = { paths: string[]; bytes: number }

/** The two files of what is kept: what it is, to be read, and its compressed contents. */
export const pathsOf = (name: 'worker' | 'data') => ({
  about: join(ROOT, `test/releases/kept/${name}.json`),
  contents: join(ROOT, `test/releases/kept/${name}.tar.zst`),
})

/** Writes what is kept of a release, in place of what was. */
export async function keep(name: 'worker' | 'data', about: object, packTo: (file: string) => Promise<void>): Promise<Kept> {
  const paths = pathsOf(name)
  await mkdir(join(paths.about, '..'), { recursive: true })
  await packTo(paths.contents)
  await writeFile(paths.about, JSON.stringify(about))
  // Biome holds all JSON of the tree to one form.
  await promisify(execFile)(
    process.execPath,
    [join(ROOT, 'node_modules/@biomejs/biome/bin/biome'), 'format', '--write', paths.about],
    {
      cwd: ROOT,
    },
  )
  return { paths: [paths.about, paths.contents], bytes: (await stat(paths.contents)).size }
}
