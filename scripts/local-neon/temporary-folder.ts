import { mkdtemp, rm, statfs } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const MEMORY = '/dev/shm'
const ROOM_BYTES = 2 * 1024 ** 3

/**
 * A folder for a disposable cluster, and the function that removes it. In memory if there is enough: databases are copied many
 * times faster there.
 */
export async function temporaryFolder(name: string): Promise<{ path: string; remove: () => Promise<void> }> {
  const room = await statfs(MEMORY).then(
    ({ bavail, bsize }) => bavail * bsize,
    () => 0,
  )
  const path = await mkdtemp(join(room > ROOM_BYTES ? MEMORY : tmpdir(), `${name}-`))
  return { path, remove: () => rm(path, { recursive: true, force: true }) }
}
