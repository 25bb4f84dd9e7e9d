import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const MAIN = fileURLToPath(new URL('../../scripts/freehold/main.ts', import.meta.url).href)

export type Ran = { code: number | null; stdout: string; stderr: string }

/** What programs have in their environment before it is anybody's setting. */
const { PATH = '', NODE_COMPILE_CACHE = '' } = process.env

/** A folder that is not there: whoever runs the tests may be logged in. */
const NOWHERE = join(tmpdir(), 'freehold-without-profiles')

/** Runs the CLI as a program of its own, with no settings in its environment but what is given. */
export const freehold = (args: string[], env: Record<string, string> = {}): Promise<Ran> => ended(started(args, env))

/** Starts the CLI, in a process group of its own, so that `killGroup` ends the programs that it started as well. */
export const started = (args: string[], env: Record<string, string> = {}) =>
  spawn(process.execPath, [MAIN, ...args], {
    cwd: tmpdir(),
    detached: true,
    env: { PATH, NODE_COMPILE_CACHE, XDG_CONFIG_HOME: NOWHERE, ...env },
  })

/** Kills a CLI and what it started, as when the machine goes off. Nothing, when it has ended. */
export const killGroup = ({ pid, exitCode }: ChildProcessWithoutNullStreams) => {
  if (pid && exitCode === null) process.kill(-pid, 'SIGKILL')
}

/** How a CLI that was started ends. */
export async function ended(child: ChildProcessWithoutNullStreams): Promise<Ran> {
  const ran: Ran = { code: null, stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const)
    child[name].on('data', (chunk: Buffer) => {
      ran[name] += chunk.toString()
    })
  ran.code = await new Promise((done) => child.once('close', done))
  return ran
}
