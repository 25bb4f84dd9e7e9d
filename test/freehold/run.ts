import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { build, type Plugin } from 'esbuild'
import { madeOnce, ROOT } from '../support/node/made-once.ts'

export const MAIN = fileURLToPath(new URL('../../scripts/freehold/main.ts', import.meta.url).href)

export type Ran = { code: number | null; stdout: string; stderr: string }

/** What programs have in their environment before it is anybody's setting. */
const { PATH = '', NODE_COMPILE_CACHE = '' } = process.env

/** A folder that is not there: whoever runs the tests may be logged in. */
const NOWHERE = join(tmpdir(), 'freehold-without-profiles')

let program: Promise<string> | undefined

/** Runs the CLI as a program of its own, with no settings in its environment but what is given. */
export const freehold = async (args: string[], env: Record<string, string> = {}): Promise<Ran> => {
  program ??= inOnePiece()
  return ended(started(args, env, await program))
}

/** Starts the CLI, in a process group of its own, so that `killGroup` ends the programs that it started as well. */
export const started = (args: string[], env: Record<string, string> = {}, main = MAIN) =>
  spawn(process.execPath, [main, ...args], {
    cwd: tmpdir(),
    detached: true,
    env: { PATH, NODE_COMPILE_CACHE, XDG_CONFIG_HOME: NOWHERE, ...env },
  })

/**
 * The program of the command line in a few files instead of hundreds: it is started hundreds of times, and finding, reading and stripping
 * them is two thirds of a start. Where a module reads files beside itself, it still does.
 */
async function inOnePiece(): Promise<string> {
  const folder = await madeOnce('command-line', ['src/**/*.{ts,tsx,json}', 'scripts/**/*.ts', 'package-lock.json'], (outdir) => {
    const common = {
      bundle: true,
      format: 'esm',
      platform: 'node',
      target: 'node24',
      splitting: true,
      logLevel: 'warning',
    } as const
    const banner = {
      js: `import { createRequire as requireFor } from 'node:module'; const require = requireFor(${JSON.stringify(import.meta.url)});`,
    }
    return build({ ...common, absWorkingDir: ROOT, entryPoints: [MAIN], outdir, banner, plugins: [inPlace] }).then(
      () => undefined,
    )
  })
  return join(folder, 'main.js')
}

const inPlace: Plugin = {
  name: 'in its place',
  setup({ onLoad }) {
    onLoad({ filter: /\.tsx?$/ }, async ({ path }) => {
      if (path.includes('node_modules')) return undefined
      const text = await readFile(path, 'utf8')
      const url = JSON.stringify(pathToFileURL(path).href)
      const contents = text.replaceAll('import.meta.url', url).replaceAll('import.meta.main', String(path === MAIN))
      return { contents, loader: path.endsWith('x') ? 'tsx' : 'ts' }
    })
  },
}

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
