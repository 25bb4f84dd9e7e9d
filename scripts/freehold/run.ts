import { type Command, CommanderError } from 'commander'
import { Failure, WrongUsage } from './failure.ts'

/**
 * Runs a program. Exit status: 0, that of a failure (1), or 2 for wrong usage. `tell` shows a failure; of wrong usage Commander has
 * said the sentence on stderr already, and `tellUsage` says it to programs. Any other error is thrown, and Node ends with 1.
 */
export async function run(
  program: Command,
  tell: (failure: Failure) => void,
  tellUsage: (wrong: WrongUsage) => void = () => {},
): Promise<void> {
  try {
    await program.parseAsync()
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return
      // A group without a command has shown its help.
      const isGroup = error.code === 'commander.help'
      const wrong = new WrongUsage(isGroup ? 'Name one of the commands; see --help.' : error.message.replace(/^error: /, ''))
      process.exitCode = wrong.exit
      tellUsage(wrong)
    } else if (error instanceof Failure) {
      process.exitCode = error.exit
      tell(error)
    } else throw error
  }
}
