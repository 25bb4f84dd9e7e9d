import { type SQL, sql } from 'drizzle-orm'
import { batch, useSqlUrl } from '../../../src/kernel/db.ts'
import { claimed } from '../../../src/kernel/token.ts'
import type { Measure } from '../finding.ts'
import { admit } from '../inside/admit.ts'
import { differences, inTurns, spread } from '../samples.ts'

const CALLS = 5

/** The admission against `select 1`: both alone in a round trip, over SQL over HTTP, one after the other. */
export const admission: Measure = {
  name: 'admission',
  async run(stage) {
    const { tenant, quick } = stage
    const claims = claimed(await stage.signIn())
    const credential = JSON.stringify({ session_id: claims?.sid, user_id: claims?.sub, proof: claims?.proof })
    useSqlUrl(stage.stack.neon.sqlUrl)
    const took = (statement: SQL) => async () => {
      const times: number[] = []
      for (let i = 0; i < CALLS; i++) {
        const started = performance.now()
        await batch(tenant.database_url, [statement])
        times.push(performance.now() - started)
      }
      return spread(times).median
    }
    const admitted = (permission: string | null) => took(admit(tenant.id, credential, permission))
    const things = { select: took(sql`select 1`), admit: admitted(null), decide: admitted('user:read') }
    await inTurns(3, things)
    const turns = await inTurns(quick ? 50 : 240, things)
    return [
      {
        title: 'Admission - `select 1`, one round trip, warm',
        value: differences(turns.admit, turns.select),
        unit: 'ms',
        goal: 1,
        parts: [
          { label: '`select 1`', value: spread(turns.select), unit: 'ms' },
          { label: 'access.admit, any person', value: spread(turns.admit), unit: 'ms' },
          { label: 'access.admit, with a permission', value: spread(turns.decide), unit: 'ms' },
        ],
        note: 'Wall time through the local Neon, one connection, each the median of 5 calls.',
      },
    ]
  },
}
