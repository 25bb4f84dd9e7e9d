import { execFile } from 'node:child_process'
import { chown, readFile } from 'node:fs/promises'
import { promisify } from 'node:util'

const run = promisify(execFile)
const NOBODY = 65534

export interface User {
  /** Passed to `spawn` when no wrapper command changes the user. */
  ids: { uid?: number; gid?: number }
  /** The command that runs `command` as this user. */
  wrap(command: string[]): string[]
  /** Changes the owner of a file to this user. */
  own(path: string): Promise<void>
}

/**
 * The user that Postgres runs as. It refuses root, so root becomes `nobody` and keeps one capability, to access a folder inside a
 * private home; where that is not possible, the `postgres` or `nobody` user of the machine.
 */
export async function runAs(): Promise<User> {
  if (process.getuid?.() !== 0) return { ids: {}, wrap: await dieWithParent(), own: async () => undefined }
  const nobody = [
    'setpriv',
    `--reuid=${NOBODY}`,
    `--regid=${NOBODY}`,
    '--clear-groups',
    '--inh-caps=+dac_override,+chown,+fowner',
    '--ambient-caps=+dac_override',
  ]
  for (const prefix of [[...nobody, '--pdeathsig=INT'], nobody]) {
    if (await works(prefix))
      return { ids: {}, wrap: (command) => [...prefix, ...command], own: (path) => chown(path, NOBODY, NOBODY) }
  }
  const ids = await unprivileged()
  return { ids, wrap: (command) => command, own: (path) => chown(path, ids.uid, ids.gid) }
}

/** Lets the kernel stop Postgres when its parent dies, even by SIGKILL. */
async function dieWithParent() {
  const prefix = ['setpriv', '--pdeathsig=INT']
  const possible = await works(prefix)
  return (command: string[]) => (possible ? [...prefix, ...command] : command)
}

async function works([file = '', ...args]: string[]) {
  return run(file, [...args, 'true']).then(
    () => true,
    () => false,
  )
}

async function unprivileged() {
  const users = (await readFile('/etc/passwd', 'utf8').catch(() => '')).split('\n').map((line) => line.split(':'))
  const user = users.find(([name]) => name === 'postgres') ?? users.find(([name]) => name === 'nobody')
  return user ? { uid: Number(user[2]), gid: Number(user[3]) } : { uid: NOBODY, gid: NOBODY }
}
