import { describe, expect, it } from 'vitest'
import { bare, filesIn, read } from './sources.ts'

const files = filesIn('src')
const lines = (path: string) => read(path).split('\n').length - 1
const with_ = (pattern: RegExp, text: (path: string) => string = read) =>
  files.flatMap((file) =>
    text(file)
      .split('\n')
      .flatMap((line, i) => (pattern.test(line) ? [`${file}:${i + 1}: ${line.trim()}`] : [])),
  )

describe('a source', () => {
  it('has at most 250 lines', () => {
    expect(
      [...files, ...filesIn('src', '.sql')].filter((file) => lines(file) > 250).map((file) => `${file}: ${lines(file)}`),
    ).toEqual([])
  })

  it('has no `any`', () => expect(with_(/(?:[:<|&,(]|\bas|=>|extends)\s*any\b(?!\()/, (file) => bare(read(file)))).toEqual([]))

  it('silences no checker', () => expect(with_(/@ts-ignore|@ts-expect-error|@ts-nocheck|eslint-disable/)).toEqual([]))

  it('silences the linter only with a reason', () => {
    expect(with_(/biome-ignore/).filter((line) => !/biome-ignore [\w/]+: \S+/.test(line))).toEqual([])
  })

  it('has nothing left to do in it', () => expect(with_(/\b(TODO|FIXME|XXX|HACK)\b/)).toEqual([]))

  it('has no default export but the Worker’s', () => {
    expect(files.filter((file) => /^export default /m.test(bare(read(file))) && !file.endsWith('.d.ts'))).toEqual([
      'src/index.ts',
    ])
  })

  it('has no enum and no namespace', () =>
    expect(with_(/^\s*(export )?(const )?(enum|namespace) /, (file) => bare(read(file)))).toEqual([]))

  it('states nothing about a value that it has not checked: no `!` after one', () => {
    expect(with_(/[\w)\]]!(?=[.;,)[\s]|$)(?!=)/, (file) => bare(read(file)))).toEqual([])
  })
})

describe('a migration', () => {
  const inFolder = (schema: string) =>
    filesIn(`drizzle/${schema}`, '.sql').map((path) => path.slice('drizzle/'.length, -'.sql'.length))

  it.each(['tenant', 'master'])('of %s is numbered without a gap', (schema) => {
    const names = inFolder(schema)
    expect(names.map((name) => Number(/\/(\d{4})_/.exec(name)?.[1]))).toEqual(names.map((_, i) => i))
  })

  it.each(['tenant', 'master'])('of %s is in drizzle’s own journal', (schema) => {
    const { entries } = JSON.parse(read(`drizzle/${schema}/meta/_journal.json`))
    expect(entries.map(({ tag }: { tag: string }) => `${schema}/${tag}`)).toEqual(inFolder(schema))
  })

  it('does nothing that a transaction cannot take back', () => {
    for (const path of [...filesIn('drizzle/tenant', '.sql'), ...filesIn('drizzle/master', '.sql')])
      expect(read(path), path).not.toMatch(
        /\b(concurrently|vacuum|create database|alter system|reassign owned|begin;|commit;)\b/i,
      )
  })

  it('names schemas, never `public`', () => {
    for (const path of filesIn('drizzle/tenant', '.sql')) expect(read(path), path).not.toMatch(/\bpublic\.\w|"public"\./)
  })
})
