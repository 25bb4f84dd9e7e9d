import type { Share } from './profile.ts'
import type { Spread } from './samples.ts'
import type { Stage } from './stage.ts'

export type Unit = 'ms' | 'µs' | 'x' | 'MB' | 'KiB' | 'rows'

/**
 * The result of a measure. `value` is compared with the goal; `parts` are the measurements that it was computed from, and its
 * components.
 */
export type Finding = {
  title: string
  value: Spread
  unit: Unit
  /** The maximum of `value`; null without a goal. */
  goal: number | null
  parts: { label: string; value: Spread; unit: Unit }[]
  note: string
  /** Where the CPU time goes, for goals on CPU. */
  profile?: Share[]
}

/** A measure, by the name that --only takes. */
export type Measure = { name: string; run: (stage: Stage) => Promise<Finding[]> }

export const BUSY = 'too busy to tell'
export type Verdict = 'met' | 'missed' | typeof BUSY

/**
 * The widest middle half of measurements that still tell something, as a share of their median; of the goal where that is larger,
 * because a share of next to nothing says nothing. Runs on a machine with nothing else to do stay below it, most of them below a
 * quarter; beside a few busy programs, waiting times exceed it.
 */
export const WIDEST = 0.5

/** Whether the measurements of a finding are so far apart that their median says nothing. */
export const isBusy = ({ goal, value: { median, low, high } }: Pick<Finding, 'goal' | 'value'>) =>
  // Written so that what is not a number is busy.
  !(high - low <= WIDEST * Math.max(Math.abs(median), goal ?? 0))

/** What a finding says about its goal; null where it has none. */
export function verdictOf(finding: Pick<Finding, 'goal' | 'value'>): Verdict | null {
  if (isBusy(finding)) return BUSY
  if (finding.goal === null) return null
  return finding.value.median <= finding.goal ? 'met' : 'missed'
}

const DIGITS: Record<Unit, number> = { ms: 2, µs: 0, x: 2, MB: 1, KiB: 1, rows: 1 }

export const shown = (number: number, unit: Unit) => `${number.toFixed(DIGITS[unit])}${unit === 'x' ? 'x' : ` ${unit}`}`

/** The middle half of the measurements, as text. */
export const range = ({ low, high, n }: Spread, unit: Unit) =>
  n > 1 ? `${low.toFixed(DIGITS[unit])} - ${high.toFixed(DIGITS[unit])}` : ''

/** The median of a finding as text, or that the machine was too busy. */
export const shownMedian = (finding: Finding) => (isBusy(finding) ? BUSY : shown(finding.value.median, finding.unit))
