import type { Command } from '../../scripts/freehold/command.ts'

/** The commands that do something: those without commands below them. */
export const leavesOf = (command: Command): Command[] =>
  command.commands.length ? command.commands.flatMap((below) => leavesOf(below as Command)) : [command]

/** The words of a line, as a shell splits it, without where it is sent. */
export const wordsOf = (line: string): string[] =>
  [...line.replace(/ [<>|] .*$/, '').matchAll(/'([^']*)'|"([^"]*)"|(\S+)/g)].map(
    ([, single, double, bare]) => single ?? double ?? bare ?? '',
  )
