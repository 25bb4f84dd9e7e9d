import { describe, expect, it } from 'vitest'
import { bare, filesIn, read } from './sources.ts'

const files = filesIn('src')
const MOST_LINES = 250

/** What a rule forbids, in the lines of a source or in what is left of them without comments and quotes, and lines that it must catch. */
type Rule = { forbids: RegExp; in?: 'bare'; unless?: RegExp; caught: string[]; passed: string[] }

const RULES: Record<string, Rule> = {
  'has no `any`': {
    forbids: /(?:[:<|&,(]|\bas|=>|extends)\s*any\b(?!\()/,
    in: 'bare',
    caught: [
      'let x: any = 1',
      'f(x as any)',
      'Promise<any>',
      'type F = () => any',
      'type T<X extends any> = X',
      'x: string | any',
    ],
    passed: ['sql.any(list)', 'x = any(list)', "const text = ': any'", '// as any', 'many: string'],
  },
  'silences no checker': {
    forbids: /@ts-ignore|@ts-expect-error|@ts-nocheck|eslint-disable/,
    caught: ['// @ts-ignore', '// @ts-expect-error because', '// @ts-nocheck', '/* eslint-disable */'],
    passed: ['// what TypeScript ignores'],
  },
  'silences the linter only with a reason': {
    forbids: /biome-ignore/,
    unless: /biome-ignore [\w/]+: \S+/,
    caught: ['// biome-ignore lint/style/noNonNullAssertion', '// biome-ignore lint/a/b:', '// biome-ignore'],
    passed: ['// biome-ignore lint/a/b: the parser needs it'],
  },
  'has nothing left to do in it': {
    forbids: /\b(TODO|FIXME|XXX|HACK)\b/,
    caught: ['// TODO: later', 'x() // FIXME', '-- XXX', '/* HACK */'],
    passed: ['TODOS', 'a hack'],
  },
  'has no enum and no namespace': {
    forbids: /^\s*(export )?(const )?(enum|namespace) /,
    in: 'bare',
    caught: ['enum A {', 'export const enum A {', '  namespace B {', 'export enum A {'],
    passed: ['z.enum([1])', '// enum A {', 'const enumerable = 1'],
  },
  'states nothing about a value that it has not checked: no `!` after one': {
    forbids: /[\w)\]]!(?=[.;,)[\s]|$)(?!=)/,
    in: 'bare',
    caught: ['a!.b', 'f()!', 'list[0]! + 1', 'f(a!, b)'],
    passed: ['a !== b', '!a', "say('no!')", 'if (!(a)) b'],
  },
}

/** The lines of a text that a rule forbids. */
function broken({ forbids, unless, in: where }: Rule, text: string): string[] {
  const lines = (where === 'bare' ? bare(text) : text).split('\n')
  return lines.flatMap((line, i) => (forbids.test(line) && !unless?.test(line) ? [`${i + 1}: ${line.trim()}`] : []))
}

const tooLong = (text: string) => text.split('\n').length - 1 > MOST_LINES
const hasDefaultExport = (text: string) => /^export default /m.test(bare(text))

describe('a source', () => {
  it('is one of many', () => expect(files.length).toBeGreaterThan(100))

  it('has at most 250 lines', () => {
    expect([...files, ...filesIn('src', '.sql')].filter((file) => tooLong(read(file)))).toEqual([])
    expect([tooLong('x\n'.repeat(251)), tooLong('x\n'.repeat(250))]).toEqual([true, false])
  })

  it('has no default export but the Worker’s', () => {
    expect(files.filter((file) => hasDefaultExport(read(file)) && !file.endsWith('.d.ts'))).toEqual(['src/index.ts'])
    expect(
      ['export default {}', 'a\nexport default b', '// export default c', 'export const a = 1'].map(hasDefaultExport),
    ).toEqual([true, true, false, false])
  })

  describe.each(Object.entries(RULES))('%s', (_, rule) => {
    it('in any file', () =>
      expect(files.flatMap((file) => broken(rule, read(file)).map((line) => `${file}:${line}`))).toEqual([]))

    it.each(rule.caught)('which catches %j', (line) => expect(broken(rule, `\n${line}\n`)).toEqual([`2: ${trimmed(rule, line)}`]))

    it.each(rule.passed)('which passes %j', (line) => expect(broken(rule, line)).toEqual([]))
  })
})

const trimmed = (rule: Rule, line: string) => (rule.in === 'bare' ? bare(line) : line).trim()

describe('a migration', () => {
  const inFolder = (schema: string) =>
    filesIn(`drizzle/${schema}`, '.sql').map((path) => path.slice('drizzle/'.length, -'.sql'.length))
  const numbers = (names: string[]) => names.map((name) => Number(/\/(\d{4})_/.exec(name)?.[1]))
  const IRREVOCABLE = /\b(concurrently|vacuum|create database|alter system|reassign owned)\b|^\s*(begin|commit)\s*;/im
  const IN_PUBLIC = /\bpublic\.\w|"public"\./

  it.each(['tenant', 'master'])('of %s is numbered without a gap', (schema) => {
    const names = inFolder(schema)
    expect(names.length).toBeGreaterThan(0)
    expect(numbers(names)).toEqual(names.map((_, i) => i))
  })

  it.each(['tenant', 'master'])('of %s is in drizzle’s own journal', (schema) => {
    const { entries } = JSON.parse(read(`drizzle/${schema}/meta/_journal.json`))
    expect(entries.map(({ tag }: { tag: string }) => `${schema}/${tag}`)).toEqual(inFolder(schema))
  })

  it('does nothing that a transaction cannot take back', () => {
    for (const path of [...filesIn('drizzle/tenant', '.sql'), ...filesIn('drizzle/master', '.sql')])
      expect(read(path), path).not.toMatch(IRREVOCABLE)
  })

  it.each([
    'create index concurrently x on y (z)',
    'vacuum full',
    'CREATE DATABASE x',
    'alter system set a = b',
    'begin;',
    'a;\n  commit;\n',
  ])('would be caught at %j', (statement) => expect(statement).toMatch(IRREVOCABLE))

  it('names schemas, never `public`', () => {
    for (const path of filesIn('drizzle/tenant', '.sql')) expect(read(path), path).not.toMatch(IN_PUBLIC)
  })

  it.each(['create table public.x ()', 'create table "public"."x" ()'])('would be caught at %j', (statement) =>
    expect(statement).toMatch(IN_PUBLIC),
  )
})
