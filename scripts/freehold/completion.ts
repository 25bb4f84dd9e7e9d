import { Argument } from 'commander'
import type { Command } from './command.ts'
import { bash } from './completion/bash.ts'
import { fish } from './completion/fish.ts'
import { wordsOf } from './completion/words.ts'
import { zsh } from './completion/zsh.ts'
import { print } from './output.ts'

const SHELLS = { bash, zsh, fish }

/** The command that prints what a shell needs to complete commands and options: made from their definition. */
export function addCompletion(program: Command): void {
  program
    .command('completion')
    .description('print a script that completes commands, options and their values in a shell')
    .example('bash')
    .addArgument(new Argument('<shell>', 'the shell').choices(Object.keys(SHELLS)))
    .addHelpText(
      'after',
      `
  bash  eval "$(freehold completion bash)" in ~/.bashrc
  zsh   eval "$(freehold completion zsh)" in ~/.zshrc, after compinit
  fish  freehold completion fish > ~/.config/fish/completions/freehold.fish`,
    )
    .action((shell: keyof typeof SHELLS) => print(SHELLS[shell](wordsOf(program)).trimEnd()))
}
