import { columnsOf, paint, plain, type Style } from './output.ts'

const STATUS: Record<string, Style> = { active: 'green', failed: 'red', provisioning: 'yellow', inactive: 'yellow' }

/** What stands between two columns. */
const GAP = 2
/** A column is cut to no fewer characters, its ellipsis among them. */
const LEAST = 3

/** Rows in aligned columns under their heads, for stdout: in a terminal the widest columns are cut until a row fits a line. */
export function table(heads: string[], rows: string[][], columns = columnsOf(process.stdout)): string {
  const cells = rows.map((row) => row.map(plain))
  const widths = fitting(
    heads.map((head, i) => Math.max(...[head, ...cells.map((row) => row[i] ?? '')].map(length))),
    columns - GAP * (heads.length - 1),
  )
  const line = (row: string[], style: (cell: string, head: string) => Style | undefined) =>
    row
      .map((whole, i) => {
        const cell = cut(whole, widths[i] ?? 0)
        return tinted(i === row.length - 1 ? cell : padded(cell, widths[i] ?? 0), style(whole, heads[i] ?? ''))
      })
      .join(' '.repeat(GAP))
  return [line(heads, () => 'bold'), ...cells.map((row) => line(row, statusStyle))].join('\n')
}

/** Widths that come to a sum at most, as far as LEAST allows: always the widest gives way. */
function fitting(widths: number[], sum: number): number[] {
  const fitted = [...widths]
  for (let over = fitted.reduce((all, width) => all + width, 0) - sum; over > 0; over--) {
    const widest = fitted.indexOf(Math.max(...fitted))
    if ((fitted[widest] ?? 0) <= LEAST) break
    fitted[widest] = (fitted[widest] ?? 0) - 1
  }
  return fitted
}

const cut = (text: string, width: number) => (length(text) <= width ? text : `${[...text].slice(0, width - 1).join('')}…`)

/** Names and values, one pair a line, aligned and indented. */
export function pairs(values: [string, string][]): string {
  const width = Math.max(...values.map(([name]) => name.length))
  return values.map(([name, value]) => `  ${padded(name, width)}  ${tinted(plain(value), statusStyle(value, name))}`).join('\n')
}

/** An instant of the wire (RFC 3339, UTC) to the minute. */
export const minute = (instant: string) => instant.slice(0, 16).replace('T', ' ')

const statusStyle = (value: string, name: string) => (/^status$/i.test(name) ? STATUS[value] : undefined)
const tinted = (text: string, style: Style | undefined) => (style ? paint(process.stdout, style, text) : text)
const length = (text: string) => [...text].length
const padded = (text: string, width: number) => text + ' '.repeat(Math.max(0, width - length(text)))
