/**
 * The statements that bring a database from the state of all migrations to the definitions: everything but tables, which
 * drizzle-kit handles.
 */
import { Failure } from '../freehold/failure.ts'
import { type Catalogue, type Entry, type Grant, keyOf } from './catalogue.ts'
import { type Definition, inOrder } from './definitions.ts'

export type Plan = {
  /** To run before the tables change: drops, dependents first. */
  drops: string[]
  /** Types and sequences, which tables may use. */
  types: string[]
  /** To run after the tables changed, in an order that works. */
  creates: string[]
  /** Objects without a definition that this migration keeps, because the previous release uses them. */
  retires: string[]
  /** For the comment at the top of the file. */
  notes: { made: string[]; replaced: string[]; remade: string[]; dropped: string[] }
}

/** The kinds that this module handles; drizzle-kit handles the others. */
const KINDS = ['type', 'sequence', 'function', 'procedure', 'trigger', 'policy']
const isOurs = ({ key }: Entry) => KINDS.includes(key.split(' ')[0] ?? '')
const isRoutine = (key: string) => /^(function|procedure) /.test(key)
/** The order of drops; creation is in the reverse order. */
const RANK = ['policy', 'trigger', 'procedure', 'function', 'sequence', 'type']
const rank = (key: string) => RANK.indexOf(key.split(' ')[0] ?? '')

/** Plans the statements from `before` to `after`. `due`: the keys that the previous migration retired, to be dropped now. */
export function plan(before: Catalogue, after: Catalogue, definitions: Definition[], due: string[]): Plan {
  const entries = (catalogue: Catalogue) => [...catalogue.entries.values()].filter(isOurs)
  const sources = new Map(definitions.map((definition) => [definition.key, definition]))
  const gone = entries(before).filter(({ key }) => !after.entries.has(key))
  const dropped = gone.filter(({ key }) => due.includes(key))
  const fresh = entries(after).filter(({ key }) => !before.entries.has(key))
  const changed = entries(after).filter(({ key, form }) => (before.entries.get(key)?.form ?? form) !== form)
  const inPlace = changed.filter(({ key, signature }) => isRoutine(key) && before.entries.get(key)?.signature === signature)
  const types = changed
    .filter(({ kind }) => kind === 'type')
    .flatMap((entry) => addedValues(before.entries.get(entry.key), entry))
  const rebuilt = changed.filter((entry) => !inPlace.includes(entry) && entry.kind !== 'type').map(({ key }) => key)
  const remade = withDependents(rebuilt, before)
  const going = withDependents([...dropped.map(({ key }) => key), ...rebuilt], before)
  const unknown = going.find((key) => !before.entries.has(key))
  if (unknown)
    throw new Failure(`${unknown} depends on what changes and cannot be made anew by itself. Change its table.ts first.`)
  const making = [
    ...fresh.map(({ key }) => key),
    ...remade.filter((key) => after.entries.has(key)),
    ...inPlace.map(({ key }) => key),
  ]
  const wanted = new Set(making)

  const create = (key: string) => {
    const source = sources.get(key)
    const text = source?.text ?? after.entries.get(key)?.create ?? ''
    const replaced = isRoutine(key) ? text.replace(/^create (or replace )?/i, 'create or replace ') : text
    return source?.comment ? `${source.comment}\n${replaced}` : replaced
  }
  const of = (...kinds: string[]) => [...wanted].filter((key) => kinds.includes(key.split(' ')[0] ?? ''))
  const routines = inOrder(definitions.filter(({ key, kind }) => kind === 'function' && wanted.has(key))).map(({ key }) => key)
  return {
    drops: going.map((key) => before.entries.get(key)?.drop ?? ''),
    types: [...types, ...of('type', 'sequence').map(create)],
    creates: [...routines, ...of('trigger', 'policy')].map(create),
    retires: gone.filter((entry) => !dropped.includes(entry)).map(({ key }) => key),
    notes: {
      made: fresh.map(({ key }) => key),
      replaced: inPlace.map(({ key }) => key),
      remade: remade.filter((key) => after.entries.has(key)),
      dropped: dropped.map(({ key }) => key),
    },
  }
}

/** The given objects and everything that depends on them, in an order in which they can be dropped: dependents first. */
function withDependents(keys: string[], catalogue: Catalogue): string[] {
  const found = new Set<string>()
  const visit = (key: string, waiting: string[]) => {
    if (found.has(key) || waiting.includes(key)) return
    for (const dependent of catalogue.entries.get(key)?.dependents ?? []) visit(dependent, [...waiting, key])
    found.add(key)
  }
  // Policies and triggers depend on functions whose bodies are strings, which Postgres does not know.
  for (const key of [...keys].sort((one, other) => rank(one) - rank(other))) visit(key, [])
  return [...found]
}

/**
 * The statements that add values to an enum. Fails when values are removed, renamed or reordered. The same migration cannot use
 * new values.
 */
function addedValues(before: Entry | undefined, after: Entry): string[] {
  const values = (entry: Entry | undefined) => (entry?.form.split(' | ')[1] ?? '').split(', ')
  const [old, now] = [values(before), values(after)]
  if (old.join() !== now.filter((value) => old.includes(value)).join())
    throw new Failure(`${after.key} cannot lose, rename or reorder values. Make a type with another name.`)
  return now.flatMap((value, i) =>
    old.includes(value)
      ? []
      : [`alter ${after.key} add value ${literal(value)} ${i ? `after ${literal(now[i - 1])}` : `before ${literal(old[0])}`}`],
  )
}

const literal = (text = '') => `'${text.replaceAll("'", "''")}'`

/**
 * The statements for indexes and constraints that drizzle-kit does not know of: the key of a table that was renamed, and the indexes of a
 * generated column that it makes anew.
 */
export function repairsOf(now: Catalogue, after: Catalogue, isKept: (key: string) => boolean): string[] {
  const of = (catalogue: Catalogue) =>
    [...catalogue.entries.values()].filter(({ kind }) => kind === 'index' || kind === 'constraint')
  const tableOf = ({ key }: Entry) => key.split(' on ')[1]
  const ownerOf = ({ key }: Entry) => key.replace(/^index \w+\./, 'constraint ')
  // The index of a constraint comes and goes with it.
  const isOwn = (entry: Entry, catalogue: Catalogue) => entry.kind === 'constraint' || !catalogue.entries.has(ownerOf(entry))
  const extra = of(now).filter(
    (entry) => after.entries.get(entry.key)?.form !== entry.form && isOwn(entry, now) && !isKept(entry.key),
  )
  const lacking = of(after).filter((entry) => now.entries.get(entry.key)?.form !== entry.form && isOwn(entry, after))
  const renames = new Map<Entry, Entry>()
  for (const entry of lacking.filter(({ kind }) => kind === 'constraint')) {
    const same = extra.find(
      (other) => other.form === entry.form && tableOf(other) === tableOf(entry) && ![...renames.values()].includes(other),
    )
    if (same) renames.set(entry, same)
  }
  const nameOf = ({ key }: Entry) => key.split(' ')[1] ?? ''
  return [
    ...[...renames].map(([to, from]) => `alter table ${tableOf(to)} rename constraint ${nameOf(from)} to ${nameOf(to)}`),
    ...extra.filter((entry) => ![...renames.values()].includes(entry)).map(({ drop }) => drop),
    ...lacking.filter((entry) => !renames.has(entry)).map(({ create }) => create),
  ]
}

/**
 * The missing grants and the revocations, once everything else exists; many objects in one statement. What is revoked of an object that
 * stays is revoked at once; what is retired, a column too, keeps its grants for as long as it is kept.
 */
export function grantsBetween(before: Catalogue, after: Catalogue): string[] {
  const missing = (one: Catalogue, other: Catalogue) =>
    [...other.grants.values()].filter((grant) => !one.grants.has(keyOf(grant)))
  const there = ({ object, column }: Grant) =>
    column
      ? after.entries.has(`column ${object}.${column}`)
      : [...after.grants.values()].some((grant) => grant.object === object) || known.has(object)
  const known = new Set([...after.entries.values()].map(({ drop }) => drop.replace(/^drop (table )?/, '')))
  return [...grouped(missing(after, before).filter(there), 'revoke', 'from'), ...grouped(missing(before, after), 'grant', 'to')]
}

function grouped(grants: Grant[], verb: string, preposition: string): string[] {
  const privileges = new Map<string, Map<string, string[]>>()
  for (const { privilege, column, object, grantee } of grants) {
    const [, kind = '', name = object] = /^(schema|sequence|function|procedure|type) (.*)$/.exec(object) ?? []
    const target = `${kind}\n${name}\n${grantee}`
    const list = privileges.get(target) ?? new Map<string, string[]>()
    list.set(privilege, [...(list.get(privilege) ?? []), ...(column ? [column] : [])])
    privileges.set(target, list)
  }
  // One statement for all objects with the same privileges.
  const merged = new Map<string, string[]>()
  for (const [target, list] of privileges) {
    const [kind = '', name = '', grantee = ''] = target.split('\n')
    const what = [...list]
      .sort()
      .map(([privilege, columns]) => (columns.length ? `${privilege} (${columns.join(', ')})` : privilege))
    const key = `${what.join(', ')}\n${kind}\n${grantee}`
    merged.set(key, [...(merged.get(key) ?? []), name])
  }
  return [...merged].map(([key, names]) => {
    const [what, kind, grantee] = key.split('\n')
    return `${verb} ${what}\n  on ${kind ? `${kind} ` : ''}${names.sort().join(',\n    ')}\n  ${preposition} ${grantee}`
  })
}
