#!/usr/bin/env node
import { Failure } from './failure.ts'
import { paint, plain, printJson, tell } from './output.ts'
import { commandLine, isForMachines } from './program.ts'
import { run } from './run.ts'

// A closed pipe (`| head`) is not a failure, and makes no success of one. Without a reader of stderr the work goes on.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? (process.exitCode ?? 0) : 1))
process.stderr.on('error', () => undefined)

const program = commandLine()

await run(
  program,
  (failure) => {
    tell(`${paint(process.stderr, 'red', 'error:')} ${failure.message}`)
    if (isForMachines(program)) printJson(failure.document)
  },
  (wrong) => {
    if (isForMachines(program)) printJson(wrong.document)
  },
).catch((error: Error) => {
  // A fault of the command line itself. Its stack is on stderr, for whoever mends it.
  if (isForMachines(program)) printJson(new Failure(plain(error.message), 'internal_error').document)
  tell(error.stack ?? error.message)
  process.exitCode = 1
})
