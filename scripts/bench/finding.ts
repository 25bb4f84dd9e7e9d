import type { Share } from './profile.ts'
import type { Spread } from './samples.ts'
import type { Stage } from './stage.ts'

export type Unit = 'ms' | 'µs' | 'x' | 'MB' | 'rows'

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

export const isMet = ({ goal, value }: Finding) => (goal === null ? null : value.median <= goal)

const DIGITS: Record<Unit, number> = { ms: 2, µs: 0, x: 2, MB: 0, rows: 1 }

export const shown = (number: number, unit: Unit) => `${number.toFixed(DIGITS[unit])}${unit === 'x' ? 'x' : ` ${unit}`}`

/** The middle half of the measurements, as text. */
export const range = ({ low, high, n }: Spread, unit: Unit) =>
  n > 1 ? `${low.toFixed(DIGITS[unit])} - ${high.toFixed(DIGITS[unit])}` : ''

export const verdict = (finding: Finding) =>
  ({ true: 'met', false: 'MISSED', null: '' })[String(isMet(finding)) as 'true' | 'false' | 'null']
