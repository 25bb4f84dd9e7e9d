/**
 * The settings of risk (src/risk): what each sign weighs, and what a score leads to. Threat: weights that say nothing, so that nobody is
 * ever told; a trigger refuses those that sum to nothing, and thresholds that contradict each other (src/risk/scoring.sql).
 */
import { z } from '@hono/zod-openapi'
import { RISK_WEIGHTS } from './table.ts'

export const SIGNS = Object.keys(RISK_WEIGHTS) as [Sign, ...Sign[]]
export type Sign = keyof typeof RISK_WEIGHTS

const each = <T extends z.ZodType>(of: T) => Object.fromEntries(SIGNS.map((name) => [name, of])) as Record<Sign, T>
const Weight = z.int().min(0).max(100)

export const RiskWeights = z.object(each(Weight)).openapi({
  description:
    'How many points each sign of a risky login adds to its score, where there is all of it. 0: the sign does not count. The score ends at 100.',
  example: RISK_WEIGHTS,
})
/** A merge patch, as all of the settings. */
export const RiskWeightPatch = z.strictObject(each(Weight.optional())).openapi({
  description: 'The weights to change; the others stay',
})

export const Threshold = z.int().min(1).max(100)

/** The settings of risk, as the settings show and take them. */
export const RISK = {
  risk_weights: RiskWeights,
  risk_suspicious: Threshold.openapi({
    description: 'The score from which on a login or refresh is recorded as SUSPICIOUS_ACTIVITY, and its user is told',
  }),
  risk_stop: Threshold.openapi({
    description: 'The score from which on a login is stopped, as risk_action says, and the session of a refresh ends',
  }),
  risk_action: z.enum(['none', 'step_up', 'refuse']).openapi({
    description:
      'What stops a login: `step_up` asks for the second factor, or, of somebody without one, for a code by mail; `refuse` answers as to a wrong password. `none`: nothing is stopped.',
  }),
  risk_breached: z.boolean().openapi({
    description:
      'Ask a public list of breached passwords at logins, by a part of a hash. Where it does not answer, logins go on without it.',
  }),
  risk_days: z.int().min(30).max(365).openapi({
    description: 'Days for which logins are kept that later ones are compared with',
  }),
}

/** The weights in SQL, all of them: one that an older release did not know counts nothing. */
export const WEIGHTS_SHOWN = `jsonb_build_object(${SIGNS.map((name) => `'${name}', coalesce(risk_weights -> '${name}', '0')`).join(', ')}) as risk_weights`
