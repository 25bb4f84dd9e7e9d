/**
 * What the login of an adopted database may do. Threat: it may do too little, and the adoption stops half-way; or too much, and whoever reads
 * the secrets of the master has what is beside the database as well. Both are refused with the statements that an administrator must run.
 */
import { Problem } from '../../kernel/problem.ts'
import type { Facts } from './facts.ts'

/** What an administrator runs, ready to paste. */
export const toRun = (statements: string[]) => ({
  errors: statements.map((statement) => ({ pointer: '#/connection_string', detail: statement })),
})

/**
 * The login makes roles and closes the database, as the API role of a host does. One that can do more is refused: who reads the master's
 * secrets reads with it what is beside the database. The roles that Neon's API makes can, and Neon makes no others: they are accepted.
 */
export function mustBePermitted(facts: Facts): void {
  const { login, owner, groups } = facts
  if (facts.is_super)
    throw new Problem(
      'illegal_state',
      'The login is a superuser, which may do too much. An administrator must run the statements in `errors`, and set a password.',
      toRun([
        'create role freehold_adopter login createrole;',
        ...(facts.is_owner_mighty ? owning(facts, 'freehold_adopter') : [`grant ${owner} to freehold_adopter;`]),
        ...(groups.length ? [`grant ${groups.map(({ name }) => name).join(', ')} to freehold_adopter with admin option;`] : []),
      ]),
    )
  const excess = facts.is_neons ? [] : [...facts.attributes, ...facts.mighty]
  if (excess.length)
    throw new Problem(
      'illegal_state',
      `The login has or can become ${excess.join(', ')}, which may do too much. An administrator must run the statements in \`errors\`.`,
      toRun([
        ...(facts.attributes.length ? [`alter role ${login} ${facts.attributes.map((one) => `no${one}`).join(' ')};`] : []),
        ...(facts.mighty.length ? [`revoke ${facts.mighty.join(', ')} from ${login};`] : []),
        ...(facts.mighty.includes(owner) ? owning(facts, login) : []),
      ]),
    )
  const strange = groups.filter(({ is_strange }) => is_strange).map(({ name }) => name)
  if (strange.length)
    throw new Problem(
      'illegal_state',
      `The roles ${strange.join(', ')} are there and have privileges that are not of Freehold. An administrator must rename or drop them.`,
    )
  const kept = groups.filter(({ is_ours_to_give }) => !is_ours_to_give).map(({ name }) => name)
  const statements = [
    ...(facts.makes_roles ? [] : [`alter role ${login} createrole;`]),
    ...(facts.owns ? [] : owning(facts, login)),
    ...(kept.length ? [`grant ${kept.join(', ')} to ${login} with admin option;`] : []),
    ...(facts.is_public_open ? ['revoke create on schema public from public;'] : []),
    ...writing(facts),
  ]
  if (statements.length)
    throw new Problem(
      'illegal_state',
      `This login may do too little. Give that of ${owner}, who owns the database, or have an administrator run the statements in \`errors\`.`,
      toRun(statements),
    )
}

/** The statements that make a role the owner of the database. */
const owning = ({ database }: Facts, role: string) => [
  `grant ${role} to current_user with inherit true, set true;`,
  `alter database ${database} owner to ${role};`,
]

/** The statement after which transactions write, where it is a setting of the login or of the database that they only read. */
function writing({ reads_only_by, login, database }: Facts): string[] {
  if (reads_only_by === null) return []
  const at: Record<string, string> = {
    user: `role ${login}`,
    database: `database ${database}`,
    'database user': `role ${login} in database ${database}`,
  }
  const changed = Object.hasOwn(at, reads_only_by) ? at[reads_only_by] : null
  if (!changed)
    throw new Problem('illegal_state', 'Transactions of this server only read: its setting default_transaction_read_only is on.')
  // The administrator's own session in this database begins so, too.
  const first = reads_only_by === 'database' ? ['set default_transaction_read_only = off;'] : []
  return [...first, `alter ${changed} reset default_transaction_read_only; -- open sessions keep it until they end`]
}
