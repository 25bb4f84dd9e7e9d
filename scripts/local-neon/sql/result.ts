import { cook } from './cook.ts'
import type { Result } from './pipeline.ts'

export interface Shape {
  /** Every value as the text that Postgres sent. */
  raw: boolean
  /** Rows as lists instead of objects. */
  arrayMode: boolean
  /** The element types of array types that the session made itself. */
  elements: Map<number, number>
}

/** A result as the API returns it. */
export function showResult({ fields, rows, tag }: Result, { raw, arrayMode, elements }: Shape) {
  const shaped = rows.map((row) => {
    const values = raw ? row : row.map((value, place) => cook(value, fields[place]?.dataTypeID ?? 0, elements))
    return arrayMode ? values : Object.fromEntries(values.map((value, place) => [fields[place]?.name ?? '', value]))
  })
  return { ...readTag(tag), fields: fields.map(showField), rows: shaped, rowAsArray: arrayMode }
}

function showField({ name, dataTypeID, tableID, columnID, dataTypeSize, dataTypeModifier }: Result['fields'][number]) {
  return { name, dataTypeID, tableID, columnID, dataTypeSize, dataTypeModifier, format: 'text' }
}

/** `INSERT 0 3` is 3 rows, `SELECT 3` too, and `CREATE TABLE` has no number. */
function readTag(tag: string) {
  const [command = '', second = '', third = ''] = tag.split(' ')
  const count = command === 'INSERT' ? third : second
  return { command, rowCount: /^\d+$/.test(count) ? Number(count) : null }
}
