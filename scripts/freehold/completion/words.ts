import type { Option } from 'commander'
import type { Command } from '../command.ts'

/** A word that can be typed, and what it means. */
export type Word = { word: string; about: string }
/** What can follow the names of a command: `freehold tenants list` is the path "tenants list". */
export type Words = {
  path: string
  commands: Word[]
  options: Word[]
  /** Of the options that take a value: what it may be; none: anything, such as a file. */
  values: { flags: string[]; choices: string[] }[]
  /** What the arguments may be, where that is a list. */
  choices: string[]
}

/** What can be typed at each place of the command line. */
export function wordsOf(program: Command): Words[] {
  const visit = (command: Command, path: string): Words[] => {
    const help = command.createHelp()
    const below = help.visibleCommands(command).filter((one) => one.name() !== 'help') as Command[]
    const options = [...help.visibleOptions(command), ...help.visibleGlobalOptions(command)]
    const own = {
      path,
      commands: below.map((one) => ({ word: one.name(), about: one.description() })),
      options: options.flatMap((option) => flagsOf(option).map((word) => ({ word, about: option.description }))),
      values: options
        .filter(({ required, optional }) => required || optional)
        .map((option) => ({ flags: flagsOf(option), choices: option.argChoices ?? [] })),
      choices: command.registeredArguments.flatMap(({ argChoices }) => argChoices ?? []),
    }
    return [own, ...below.flatMap((one) => visit(one, path === '' ? one.name() : `${path} ${one.name()}`))]
  }
  return visit(program, '')
}

const flagsOf = ({ short, long }: Option): string[] => [long, short].filter((flag) => flag !== undefined)

/** A text in single quotes, for a shell of the Bourne family. */
export const quoted = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`
