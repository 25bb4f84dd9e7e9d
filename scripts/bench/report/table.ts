import { type Finding, range, shown, shownMedian, type Verdict, verdictOf } from '../finding.ts'

const MARKS = new Map<Verdict | null, string>([
  ['met', 'met'],
  ['missed', 'MISSED'],
])

/** The findings as text for a terminal. */
export function table(findings: Finding[]): string {
  const rows = [
    ['', 'median', 'middle half', 'goal', ''],
    ...findings.flatMap((finding) => [
      [
        finding.title,
        shownMedian(finding),
        range(finding.value, finding.unit),
        finding.goal === null ? '' : `<= ${shown(finding.goal, finding.unit)}`,
        MARKS.get(verdictOf(finding)) ?? '',
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
