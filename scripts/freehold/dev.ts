import { OPTIONS } from '../dev/options.ts'
import type { Command } from './command.ts'
import { Failure } from './failure.ts'
import { DATA, type Globals } from './options.ts'

type Wanted = Globals & { port: string; fresh: boolean; verbose: boolean }

/** The command that does what `npm start` does. */
export function addDev(program: Command): void {
  const { port, fresh, verbose } = OPTIONS
  program
    .command('dev')
    .description('start everything on this machine, as npm start: Postgres, a local Neon, the Worker; for the repository')
    .example()
    .example('--port 8788 --data .freehold-2 --fresh')
    .option('--port <n>', port.about, port.default)
    .option('--fresh', fresh.about)
    .option('--verbose', verbose.about)
    .addHelpText(
      'after',
      '\n--data is the data folder, and --json prints one line when all is ready. Ctrl-C ends it; the data stays.',
    )
    .action(async (_, command: Command) => {
      // It ends groups of processes by signals, which Windows does not have.
      if (process.platform === 'win32')
        throw new Failure('freehold dev needs Linux or macOS: on Windows run it in WSL, and the other commands where you like.')
      const { port, data = DATA, ...flags } = command.optsWithGlobals<Wanted>()
      const given = (['fresh', 'verbose', 'json'] as const).filter((name) => flags[name]).map((name) => `--${name}`)
      // Not in the package: see scripts/package/main.ts.
      const { startLocally } = await import('../dev/child.ts')
      process.exitCode = await startLocally(['--port', port, '--data', data, ...given])
    })
}
