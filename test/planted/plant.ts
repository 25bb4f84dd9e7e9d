/**
 * Plants a fault in what a test run loads, and nowhere else: modules are changed while Vite reads them, and definitions of the
 * database are changed by a migration that only this run has, after all others. No file changes.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Plugin } from 'vitest/config'
import { splitStatements } from '../../scripts/migration/statements.ts'
import { FAULTS, type Fault } from './faults.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
/** The module that lists the migrations of a tenant's database. */
const BUNDLED = 'src/tenants/provisioning/bundled.ts'

/** How often the text that a fault replaces stands in its file: it must be once. */
export const timesFound = ({ file, text }: Fault) => readFileSync(join(ROOT, file), 'utf8').split(text).length - 1

type Change = { module: string; change: (code: string) => string }
const changes = new Map<string, Change>()

/** The module that a fault changes, and how. */
export function changeOf(name: string): Change {
  const known = changes.get(name)
  if (known) return known
  const fault = FAULTS.find((one) => one.name === name)
  if (!fault) throw new Error(`PLANTED_FAULT: test/planted/faults.ts has no fault "${name}".`)
  if (timesFound(fault) !== 1) throw new Error(`"${name}": ${fault.file} must have this text once: ${fault.text}`)
  const { file, change } = fault.file.endsWith('.sql')
    ? { file: BUNDLED, change: withMigration(migrationOf(fault)) }
    : { file: fault.file, change: (code: string) => code.replace(fault.text, () => fault.becomes) }
  const made = { module: join(ROOT, file), change }
  changes.set(name, made)
  return made
}

/** For a config of Vitest: plants the fault of this name; without a name nothing. */
export function planted(name: string | undefined): Plugin[] {
  if (!name) return []
  const change = changeOf(name)
  return [planting(() => change)]
}

/** Plants what PLANTED_FAULT says at the moment. Who changes it invalidates the modules of both faults. */
export const plantedInTurn = (): Plugin =>
  planting(() => (process.env.PLANTED_FAULT ? changeOf(process.env.PLANTED_FAULT) : undefined))

function planting(now: () => Change | undefined): Plugin {
  const isIt = (id: string) => id.split('?')[0] === now()?.module
  return {
    name: 'planted-fault',
    enforce: 'pre',
    // What Vitest keeps of earlier runs is not of this fault, and this fault must not be kept for later ones.
    configureVitest: ({ defineCacheKeyGenerator }) => defineCacheKeyGenerator(({ id }) => (isIt(id) ? false : undefined)),
    transform: (code, id) => (isIt(id) ? { code: now()?.change(code) ?? code, map: null } : undefined),
  }
}

const withMigration = (text: string) => (code: string) =>
  code.replace(/\n\]\n$/, () => `\n  { name: 'tenant/9999_planted', text: ${JSON.stringify(text)} },\n]\n`)

/** The statements that make the database as the changed file has it. */
function migrationOf({ file, text, becomes }: Fault): string {
  const source = readFileSync(join(ROOT, file), 'utf8')
  const [before, after] = [source, source.replace(text, () => becomes)].map((whole) => splitStatements(whole).map((s) => s.text))
  const made = after?.filter((statement) => !before?.includes(statement)).map(remade) ?? []
  const left = new Set(after?.map(droppable))
  const gone = before?.map(droppable).filter((drop) => drop && !left.has(drop)) ?? []
  if (!made.length && !gone.length) throw new Error(`${file}: the fault changes no statement.`)
  return [...gone, ...made].join(';\n')
}

/** A statement in a form that may be run when its object is there already. */
function remade(statement: string): string {
  if (/^create (function|procedure|trigger) /.test(statement)) return statement.replace('create', 'create or replace')
  if (/^create policy /.test(statement)) return `${droppable(statement)};\n${statement}`
  if (/^grant /.test(statement)) return statement
  throw new Error(`Only functions, triggers, policies and grants can be planted, not: ${statement.split('\n')[0]}`)
}

/** What drops a trigger or a policy; '' for other statements. */
function droppable(statement: string): string {
  const [, kind, name, table] = /^create (trigger|policy) (\w+)\s[\s\S]*?\bon (\w+\.\w+)/.exec(statement) ?? []
  return kind ? `drop ${kind} ${name} on ${table}` : ''
}
