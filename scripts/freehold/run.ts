import { type Command, CommanderError } from 'commander'
import { Failure } from './failure.ts'

const WRONG_USAGE = 2

/** Runs a program. Exit status: 0, 1 after a failure that `tell` shows, 2 for wrong usage. Any other error is thrown. */
export async function run(program: Command, tell: (failure: Failure) => void): Promise<void> {
  try {
    await program.parseAsync()
  } catch (error) {
    if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : WRONG_USAGE
    else if (error instanceof Failure) {
      tell(error)
      process.exitCode = 1
    } else throw error
  }
}
