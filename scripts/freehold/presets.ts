import { presets } from '../../src/presets/presets.ts'
import type { Command } from './command.ts'
import { markdown } from './markdown.ts'
import type { Globals } from './options.ts'
import { print, printJson } from './output.ts'
import { table } from './table.ts'

/** The command that lists the presets. It needs no server. */
export function addPresets(program: Command): void {
  program
    .command('presets')
    .description('list the sets of roles and settings that a tenant can start with')
    .example()
    .option('--markdown', 'print tables of settings and of role x resource, as in docs/presets.md')
    .action((_, command: Command) => {
      const options = command.optsWithGlobals<Globals & { markdown?: boolean }>()
      const all = Object.values(presets)
      if (options.json) return printJson({ data: all })
      if (options.markdown) return print(markdown(all))
      const rows = all.map((p) => [p.name, p.administrator, p.fallback, p.roles.map(({ name }) => name).join(' ')])
      print(table(['PRESET', 'ADMINISTRATOR', 'DEFAULT', 'ROLES'], rows))
    })
}
