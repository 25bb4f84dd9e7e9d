/**
 * Rehearsing the settings of risk. What is risky, and what becomes of it, the database decides with the login itself: scoring.sql and
 * risk.sql. Threat: see rehearsing.sql.
 */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import { type Ctx, question } from '../kernel/context.ts'
import { RiskWeightPatch, RiskWeights, SIGNS, Threshold } from '../settings/risk.ts'

/** So many attempts are replayed at most, the newest. */
const MOST_ATTEMPTS = 100_000
/** So many people are named of each group. */
const FIRST = 20

export const Rehearsal = z
  .strictObject({
    weights: RiskWeightPatch.optional(),
    thresholds: z.strictObject({ suspicious: Threshold.optional(), stop: Threshold.optional() }).optional(),
  })
  .openapi('RiskRehearsal')

const Group = z.object({
  attempts: z.int(),
  people: z.int(),
  first: z
    .array(
      z.object({
        person: z.string().openapi({ description: 'A pseudonym: the same for the same person, in this tenant' }),
        user_id: z.uuid().nullable().openapi({ description: 'null: the caller may not read all users' }),
        attempts: z.int(),
        highest_score: z.int(),
        reasons: z.array(z.enum(SIGNS)),
      }),
    )
    .openapi({ description: `The first ${FIRST} people, those with most attempts first` }),
})
const Side = z.object({
  suspicious: Group.openapi({ description: 'From the first threshold on: recorded, and their users told' }),
  stopped: Group.openapi({ description: 'From the second threshold on' }),
  annoyed: Group.openapi({ description: 'Of the stopped, those that came in when they were made, by a second step or without' }),
})

export const Rehearsed = z
  .object({
    from: z.iso.datetime(),
    attempts: z.int().openapi({ description: 'How many logins and refreshes were replayed, of the last 30 days' }),
    is_cut: z.boolean().openapi({ description: `There were more than ${MOST_ATTEMPTS}: the newest were replayed` }),
    weights: RiskWeights,
    thresholds: z.object({ suspicious: z.int(), stop: z.int() }),
    before: Side.openapi({ description: 'Under the settings as they are' }),
    after: Side.openapi({ description: 'Under the weights and thresholds of the request' }),
  })
  .openapi('RiskRehearsed')

const REHEARSE = question(
  sql`access.rehearse_risk(${sql.placeholder('weights')}::jsonb, ${sql.placeholder('thresholds')}::jsonb, ${sql.placeholder('most')}::integer, ${sql.placeholder('people')}::integer)`,
)

/**
 * What the last 30 days would have been under other weights and thresholds; those that are left out are as they are set. Changes nothing.
 * One round trip; `setting:update` at scope `all`. Fails with invalid_request (weights that sum to nothing, a second threshold below the
 * first).
 */
export const rehearse = (ctx: Ctx, { weights, thresholds }: z.infer<typeof Rehearsal>, most = MOST_ATTEMPTS) =>
  ctx.ask<z.infer<typeof Rehearsed>>(REHEARSE, {
    weights: JSON.stringify(weights ?? {}),
    thresholds: JSON.stringify(thresholds ?? {}),
    most,
    people: FIRST,
  })
