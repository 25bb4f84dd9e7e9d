import type { Command } from 'commander'
import { presets } from '../../src/presets/presets.ts'
import { markdown } from './markdown.ts'
import type { Globals } from './options.ts'
import { print, printJson } from './output.ts'
import { table } from './table.ts'

/** The command that shows the roles that tenants can begin with. It needs no server. */
export function addPresets(program: Command): void {
  program
    .command('presets')
    .description('the sets of roles that a tenant can begin with')
    .option('--markdown', 'tables of role x resource, as docs/presets.md has them')
    .action((_, command: Command) => {
      const options = command.optsWithGlobals<Globals & { markdown?: boolean }>()
      const all = Object.values(presets)
      if (options.json) return printJson({ data: all })
      if (options.markdown) return print(markdown(all))
      const rows = all.map((p) => [p.name, p.administrator, p.fallback, p.roles.map(({ name }) => name).join(' ')])
      print(table(['PRESET', 'ADMINISTRATOR', 'DEFAULT', 'ROLES'], rows))
    })
}
