import type { Measure } from '../finding.ts'
import { makeInside } from '../inside/tenant.ts'
import { ask, load } from '../load.ts'
import { inTurns, spread } from '../samples.ts'

const PAGE = 100

/** Events through one tenant: numbered, and read as pages of the feed. */
export const events: Measure = {
  name: 'events',
  async run(stage) {
    const { main, quick } = stage
    const postgres = await (await makeInside(stage, 'events')).connect('superuser')
    try {
      const login = main.at('events', '/api/v1/auth/login', { body: stage.tenant.credentials })
      const { access_token } = await ask<{ access_token: string }>(login)
      const many = quick ? 500 : 2_000
      let newest = 0

      const numbering = async () => {
        await postgres.query(
          `select access.record('SAMPLE_TAKEN', 'take', 'sample', i::text, null, null) from generate_series(1, $1::integer) i`,
          [many],
        )
        let took = 0
        // A transaction of another tenant that still runs holds numbers back: then it is tried again.
        for (let left = true; left; ) {
          const started = performance.now()
          const made = (await postgres.query('select access.checkpoint_audit(5000) as entries')).rows[0].entries
          if (made >= many) took = performance.now() - started
          left = Boolean((await postgres.query('select from freehold.audit_log where checkpoint is null limit 1')).rowCount)
        }
        newest = Number((await postgres.query('select max(last_seq)::integer as last from access.event_spans')).rows[0].last)
        return (took * 1000) / many
      }
      const reading = async () => {
        const started = performance.now()
        await load(many / PAGE, 1, (i) =>
          main.at('events', `/api/v1/events?limit=${PAGE}&after=${newest - many + i * PAGE}`, {
            headers: { Authorization: `Bearer ${access_token}` },
          }),
        )
        return ((performance.now() - started) * 1000) / many
      }
      const took = await inTurns(quick ? 3 : 8, { numbering, reading })
      const perSecond = (values: number[]) => Math.round(1_000_000 / spread(values).median)
      return [
        {
          title: 'Events through one tenant, read one page after another',
          value: spread(took.reading),
          unit: 'µs',
          goal: null,
          parts: [
            { label: 'numbered, under a checkpoint', value: spread(took.numbering), unit: 'µs' },
            { label: `read, ${PAGE} in a page`, value: spread(took.reading), unit: 'µs' },
          ],
          note: `For each event: ${perSecond(took.numbering)} a second are numbered, and ${perSecond(took.reading)} read by one caller.`,
        },
      ]
    } finally {
      await postgres.end()
    }
  },
}
