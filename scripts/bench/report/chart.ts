import { BUSY, type Finding, shown, shownMedian, verdictOf } from '../finding.ts'

const WIDTH = 760
const LEFT = 20
const ROW = 46
const TOP = 44
const SPAN = WIDTH - 2 * LEFT
const STYLE = `text { font: 13px system-ui, sans-serif; fill: #1f2328 } .quiet { fill: #59636e; font-size: 12px } .goal { stroke: #59636e; stroke-dasharray: 4 3 }
.met { fill: #2a7f62 } .missed { fill: #c2410c } .whole { fill: #e6e9ec } .half { stroke: #1f2328; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .quiet { fill: #9198a1 } .goal { stroke: #9198a1 }
.met { fill: #4fb58f } .missed { fill: #f08a4b } .whole { fill: #2a313a } .half { stroke: #e6edf3 } }`

/**
 * A bar for each finding that has a goal, as a share of that goal; the line across the bar is the middle half of the
 * measurements. No bar where these do not tell.
 */
export function chart(findings: Finding[]): string {
  const bars = findings.flatMap((finding) => (finding.goal === null ? [] : [{ finding, goal: finding.goal }]))
  const told = bars.filter(({ finding }) => verdictOf(finding) !== BUSY)
  const widest = Math.max(1.25, ...told.map(({ finding, goal }) => finding.value.high / goal)) * 1.02
  const x = (share: number) => (LEFT + (Math.max(0, share) / widest) * SPAN).toFixed(1)
  const height = TOP + bars.length * ROW + 8
  const rows = bars.map(({ finding, goal }, i) => {
    const { value, title, unit } = finding
    const verdict = verdictOf(finding)
    const y = TOP + i * ROW
    const wide = (Number(x(value.median / goal)) - LEFT).toFixed(1)
    const measured = `
<rect class="${verdict}" x="${LEFT}" y="${y + 20}" width="${wide}" height="14" rx="2"/>
<line class="half" x1="${x(value.low / goal)}" x2="${x(value.high / goal)}" y1="${y + 27}" y2="${y + 27}"/>`
    return `<text x="${LEFT}" y="${y + 13}">${escaped(title)}</text>
<text class="quiet" x="${WIDTH - LEFT}" y="${y + 13}" text-anchor="end">${verdict === BUSY ? BUSY : `${shownMedian(finding)} of ${shown(goal, unit)}`}</text>
<rect class="whole" x="${LEFT}" y="${y + 20}" width="${SPAN}" height="14" rx="2"/>${verdict === BUSY ? '' : measured}`
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="Measurements as shares of their goals">
<style>${STYLE}</style>
${rows.join('\n')}
<line class="goal" x1="${x(1)}" x2="${x(1)}" y1="26" y2="${height - 4}"/>
<text class="quiet" x="${x(1)}" y="18" text-anchor="middle">goal</text>
</svg>
`
}

const escaped = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('`', '')
