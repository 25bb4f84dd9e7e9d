/**
 * Retired objects: the definitions have them no more, and they stay for one release, because the previous release runs on this schema
 * during a deploy and after a rollback. The next migration drops them.
 */
import type { Catalogue } from './catalogue.ts'

/** Whether a difference is expected: a retired object, or part of a retired table or column. */
export const isRetired = (key: string, retired: string[]): boolean =>
  retired.some((object) => {
    const [kind, name = ''] = object.split(' ')
    const [, table, column] = /^(\w+\.\w+)(?:\.(\w+))?$/.exec(name) ?? []
    if (key === object) return true
    if (kind === 'table')
      return key.startsWith(`column ${name}.`) || key.endsWith(` on ${name}`) || key.includes(` on ${name} to `)
    if (kind === 'column') return key.startsWith('grant ') && key.includes(`(${column}) on ${table} to `)
    return key.startsWith('grant ') && (key.includes(` on ${object}(`) || key.includes(` on ${object} to `))
  })

/** A comment on an object in the database, which tells an operator why it is still there. Indexes and constraints go with their column. */
export const commentOn = (key: string, { entries }: Catalogue, text: string): string[] =>
  /^(index|constraint) /.test(key)
    ? []
    : [`comment on ${key.startsWith('column ') ? key : entries.get(key)?.drop.replace(/^drop /, '')} is ${text}`]

/** The tables and columns among retired objects, by name: that their data will be lost was accepted when they were retired. */
export const lostWith = (retired: string[]) =>
  retired.filter((key) => /^(table|column) /.test(key)).map((key) => key.split(' ')[1] ?? '')
