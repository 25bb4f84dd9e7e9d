import { LETTERS, reachOf } from '../../src/presets/grants.ts'
import type { Preset, Scope } from '../../src/presets/preset.ts'

/** `all`, which is most of it, has no mark. */
const MARKS: [Scope, string][] = [
  ['all', ''],
  ['department', 'ᵈ'],
  ['team', 'ᵗ'],
  ['own', 'ᵒ'],
]
/** A head that is longer is broken at its first underscore: else it decides how wide its column is. */
const WIDE = 9

const INTRODUCTION = `# Presets: who may do what

The roles that a tenant can begin with (\`role_preset\`). A preset is data, a file in \`src/presets\`. This page is written by
\`npm run --silent freehold -- presets --markdown > docs/presets.md\`; a test holds that it is what the data says.

A cell shows what a role may, with all that it inherits: **C**reate, **R**ead, **U**pdate, **D**elete, **A**pprove, re**V**iew, e**X**port.
Letters without a mark reach everything; ᵈ reaches the department, ᵗ the team, ᵒ only what is one's own. \`CRUᵈ Dᵒ\` creates, reads and
updates within the department, and deletes one's own. A resource that nobody holds anything of has no row.
The administrator's role carries every permission that there is besides, also those that a tenant adds.`

/** The page of all presets. */
export const markdown = (presets: Preset[]) => [INTRODUCTION, ...presets.map(section)].join('\n\n')

function section(preset: Preset): string {
  const reaches = preset.roles.map(({ name }) => reachOf(preset, name))
  const resources = [...new Set(preset.permissions.map((permission) => permission.split(':')[0] ?? ''))]
  const matrix = resources.map((resource) => [code(resource), ...reaches.map((reach) => cell(reach, resource))])
  return [
    `## ${preset.name}`,
    `The first administrator is ${code(preset.administrator)}; who is made without a role is ${code(preset.fallback)}.`,
    rows(['role', 'inherits from', 'what for'], preset.roles.map(about)),
    rows(
      ['resource', ...preset.roles.map(({ name }) => head(name))],
      matrix.filter(([, ...cells]) => cells.some(Boolean)),
    ),
  ].join('\n\n')
}

const about = ({ name, parent, description, is_manageable }: Preset['roles'][number]) => [
  code(name),
  parent ? code(parent) : '',
  description + (is_manageable ? ' (users manage it)' : ''),
]

/** What a role may do with a resource: the actions of each scope, widest first. */
function cell(reach: Map<string, Scope>, resource: string): string {
  const at = (scope: Scope) =>
    Object.entries(LETTERS).flatMap(([letter, action]) => (reach.get(`${resource}:${action}`) === scope ? letter : []))
  return MARKS.flatMap(([scope, mark]) => (at(scope).length ? at(scope).join('') + mark : [])).join(' ')
}

const code = (text: string) => `\`${text}\``
const head = (name: string) => (name.length > WIDE ? name.replace('_', '_<br>') : name)

/** A table whose columns are aligned in the source too. */
function rows(heads: string[], cells: string[][]): string {
  const widths = heads.map((_, i) => Math.max(3, ...[heads, ...cells].map((row) => [...(row[i] ?? '')].length)))
  const line = (row: string[]) =>
    `| ${row.map((text, i) => text + ' '.repeat((widths[i] ?? 0) - [...text].length)).join(' | ')} |`
  return [line(heads), line(widths.map((width) => '-'.repeat(width))), ...cells.map(line)].join('\n')
}
