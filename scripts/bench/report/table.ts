import { type Finding, range, shown, verdict } from '../finding.ts'

/** The findings as text for a terminal. */
export function table(findings: Finding[]): string {
  const rows = [
    ['', 'median', 'middle half', 'goal', ''],
    ...findings.flatMap((finding) => [
      [
        finding.title,
        shown(finding.value.median, finding.unit),
        range(finding.value, finding.unit),
        finding.goal === null ? '' : `<= ${shown(finding.goal, finding.unit)}`,
        verdict(finding),
      ],
      ...finding.parts.map(({ label, value, unit }) => [`  ${label}`, shown(value.median, unit), range(value, unit), '', '']),
    ]),
  ]
  const widths = [0, 1, 2, 3, 4].map((column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  const line = (row: string[]) =>
    row
      .map((cell, column) =>
        column === 0 || column === 4 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      .join('  ')
      .trimEnd()
  return `${rows.map(line).join('\n')}\n`
}
