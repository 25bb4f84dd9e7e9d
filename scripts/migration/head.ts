import type { Database } from './definitions.ts'

/** A line of the comment at the top of a migration that does not begin a release. */
export const SAME_RELEASE = '-- It ships in the same release as the migration before it.'

/** The comment at the top of a migration: what it changes. */
export function headOf(
  database: Database,
  notes: string[],
  tables: string[],
  { made, replaced, remade, dropped }: { made: string[]; replaced: string[]; remade: string[]; dropped: string[] },
  retires: string[],
  same_release: boolean,
): string {
  const line = (what: string, keys: string[]) =>
    keys.length > 12 ? [`--   ${what} ${keys.length} objects`] : keys.map((key) => `--   ${what} ${key}`)
  const altered = new Map<string, string>()
  for (const statement of tables) {
    const [, verb = '', quoted = ''] = /^(create|alter|drop) table\s+("?\w+"?\."?\w+"?)/i.exec(statement) ?? []
    const name = quoted.replaceAll('"', '')
    // The constraints of a new table are part of its making.
    if (verb && altered.get(name) !== 'create') altered.set(name, verb.toLowerCase())
  }
  return [
    `-- Made by \`npm run migration\` for ${database === 'tenant' ? 'every tenant’s database' : 'the master'}. Do not edit it once it has landed.`,
    ...(same_release ? [SAME_RELEASE] : []),
    '-- Tables:',
    ...(altered.size || notes.length
      ? [...[...altered].map(([name, verb]) => `--   ${verb}s table ${name}`), ...notes.map((note) => `--   ${note}`)]
      : ['--   unchanged']),
    '-- Definitions:',
    ...(made.length + replaced.length + remade.length + dropped.length
      ? [...line('creates', made), ...line('replaces', replaced), ...line('drops and creates', remade), ...line('drops', dropped)]
      : ['--   unchanged']),
    ...(retires.length
      ? ['-- Kept for the release before this one, and dropped by the next migration:', ...line('keeps', retires)]
      : []),
  ].join('\n')
}
