import { paint, plain, type Style } from './output.ts'

const STATUS: Record<string, Style> = { active: 'green', failed: 'red', provisioning: 'yellow', inactive: 'yellow' }

/** Rows in aligned columns under their heads, for stdout. */
export function table(heads: string[], rows: string[][]): string {
  const cells = rows.map((row) => row.map(plain))
  const widths = heads.map((head, i) => Math.max(...[head, ...cells.map((row) => row[i] ?? '')].map(length)))
  const line = (row: string[], style: (cell: string, head: string) => Style | undefined) =>
    row
      .map((cell, i) => tinted(i === row.length - 1 ? cell : padded(cell, widths[i] ?? 0), style(cell, heads[i] ?? '')))
      .join('  ')
  return [line(heads, () => 'bold'), ...cells.map((row) => line(row, statusStyle))].join('\n')
}

/** Names and values, one pair a line, aligned and indented. */
export function pairs(values: [string, string][]): string {
  const width = Math.max(...values.map(([name]) => name.length))
  return values.map(([name, value]) => `  ${padded(name, width)}  ${tinted(plain(value), statusStyle(value, name))}`).join('\n')
}

const statusStyle = (value: string, name: string) => (/^status$/i.test(name) ? STATUS[value] : undefined)
const tinted = (text: string, style: Style | undefined) => (style ? paint(process.stdout, style, text) : text)
const length = (text: string) => [...text].length
const padded = (text: string, width: number) => text + ' '.repeat(Math.max(0, width - length(text)))
