/**
 * The definitions of the database beside its tables: types, functions, triggers, policies and grants, each written once, in
 * `src/<room>/*.sql`. The schema decides which database an object belongs to: `platform` is the master's, everything else is in
 * every tenant's.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Failure } from '../freehold/failure.ts'
import { splitStatements } from './statements.ts'

export type Database = 'tenant' | 'master'
type Kind = 'type' | 'sequence' | 'function' | 'call' | 'trigger' | 'policy' | 'grant'

export type Definition = {
  kind: Kind
  /** Its key in the catalogue, as `function access.admit` or `policy read on freehold.users`; for calls and grants their text. */
  key: string
  /** The statement, without its comment and its semicolon. */
  text: string
  comment: string
  /** `src/units/units.sql:12`. */
  place: string
  database: Database
}

const FORMS: [Kind, RegExp, (match: string[]) => string][] = [
  ['type', /^create type (\w+\.\w+)\s/, ([, name]) => `type ${name}`],
  ['sequence', /^create sequence (\w+\.\w+)/, ([, name]) => `sequence ${name}`],
  ['function', /^create (?:or replace )?(function|procedure) (\w+\.\w+)\s*\(/, ([, kind, name]) => `${kind} ${name}`],
  ['call', /^call (access\.\w+)\s*\(\s*'([\w.]+)'/, ([text]) => String(text)],
  ['trigger', /^create trigger (\w+)\s[\s\S]*?\bon (\w+\.\w+)/, ([, name, table]) => `trigger ${name} on ${table}`],
  ['policy', /^create policy (\w+)\s+on (\w+\.\w+)/, ([, name, table]) => `policy ${name} on ${table}`],
  ['grant', /^grant\s/, ([text]) => String(text)],
]

/**
 * All definitions below a folder's `src`, in the order of their files. Fails with the place of a statement that is no definition
 * or a duplicate.
 */
export function readDefinitions(root: string): Definition[] {
  const files = readdirSync(join(root, 'src'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.sql'))
    .map((entry) => join(entry.parentPath, entry.name).slice(join(root, '/').length))
    .sort()
  const definitions = files.flatMap((file) =>
    splitStatements(readFileSync(join(root, file), 'utf8')).map(({ text, comment, line }) =>
      define(text, comment, `${file}:${line}`),
    ),
  )
  const places = new Map<string, string>()
  for (const { kind, key, place } of definitions) {
    if (kind === 'call' || kind === 'grant') continue
    const other = places.get(key)
    if (other) throw new Failure(`${place}: ${key} has a definition at ${other} already. Keep one: overloads are not used here.`)
    places.set(key, place)
  }
  for (const { key, text, place } of definitions) {
    const code = text.replace(/--[^\n]*/g, '')
    for (const [name] of code.matchAll(/(?<![\w.])(?:access|platform)\.\w+(?=\s*\()/g))
      if (!places.has(`function ${name}`) && !places.has(`procedure ${name}`) && !isTableOf(code, name))
        throw new Failure(`${place}: ${key.split('\n')[0]?.slice(0, 80)} calls ${name}, which no file defines.`)
  }
  return definitions
}

/** `insert into access.purges (...)` and `grant ... on platform.tenants` are not calls. */
const isTableOf = (code: string, name: string) => new RegExp(`\\b(?:into|on|from|join|update)\\s+${name}\\s*\\(`).test(code)

function define(text: string, comment: string, place: string): Definition {
  for (const [kind, form, key] of FORMS) {
    const match = form.exec(text)
    if (match) return { kind, key: key([...match]), text, comment, place, database: databaseOf(text) }
  }
  throw new Failure(
    `${place}: this is no definition: ${text.split('\n')[0]?.slice(0, 80)}\nA file of definitions holds create type, sequence, function, procedure, trigger and policy, call access..., and grant. Tables and indexes belong in table.ts.`,
  )
}

/** Decided by the first qualified name: the function's own, or the table of a trigger, a policy, a call or a grant. */
const databaseOf = (text: string): Database =>
  /^create (?:or replace )?(?:function|procedure|type|sequence) platform\.|^call access\.\w+\s*\(\s*'platform\.|^create (?:trigger|policy)[\s\S]*? on platform\.|^grant\s[\s\S]*?\bon (?:schema |sequence |function )?\(?platform\b/.test(
    text,
  )
    ? 'master'
    : 'tenant'

const isBound = ({ text }: Definition) => /\breturn\b|\bbegin\s+atomic\b/i.test(text) && !/\bas\s+\$/i.test(text)

/**
 * Sorts functions and procedures so that they can be created in order: an SQL-standard body is bound at creation, so it comes
 * after the functions that it calls. Names in a string body are resolved when it runs.
 */
export function inOrder(functions: Definition[]): Definition[] {
  const byName = new Map(functions.map((definition) => [definition.key.split(' ')[1], definition]))
  const ordered = new Set<Definition>()
  const visit = (definition: Definition, waiting: Definition[]) => {
    if (ordered.has(definition) || waiting.includes(definition)) return
    if (isBound(definition))
      for (const [name] of definition.text.matchAll(/\b(?:access|platform)\.\w+(?=\s*\()/g)) {
        const called = byName.get(name)
        if (called && called !== definition) visit(called, [...waiting, definition])
      }
    ordered.add(definition)
  }
  for (const definition of functions) visit(definition, [])
  return [...ordered]
}
