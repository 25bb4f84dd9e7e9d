import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import type { Measure } from '../finding.ts'
import { makeInside } from '../inside/tenant.ts'
import { ask, load } from '../load.ts'
import { inTurns, spread } from '../samples.ts'

const PAGE = 100

/** A receiver of webhooks that answers at once, and the moments at which messages came. */
async function openReceiver() {
  const came: number[] = []
  const server = createServer((asked, answer) => {
    asked.resume().on('end', () => {
      came.push(performance.now())
      answer.writeHead(204).end()
    })
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  return { came, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, close: () => server.close() }
}

/** Events through one tenant: numbered, read as pages of the feed, and sent to one webhook and to three. */
export const events: Measure = {
  name: 'events',
  async run(stage) {
    const { main, quick } = stage
    const postgres = await (await makeInside(stage, 'events')).connect('superuser')
    const receivers = [await openReceiver(), await openReceiver(), await openReceiver()]
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
      const headers = { Authorization: `Bearer ${access_token}` }
      /** Microseconds from one event to the next at so many webhooks, each of which gets all. */
      const sending = (webhooks: number) => async () => {
        const chosen = receivers.slice(0, webhooks)
        const made: string[] = []
        for (const { came, url } of chosen) {
          came.length = 0
          const body = { url, kinds: ['custom.*'] }
          made.push((await ask<{ id: string }>(main.at('events', '/api/v1/webhooks', { headers, body }))).id)
        }
        await numbering()
        // The request has them sent beside its answer, for a few seconds.
        const began = performance.now()
        const least = () => Math.min(...chosen.map(({ came }) => came.length))
        const wake = (n: number) =>
          ask(main.at('events', '/api/v1/units', { headers, body: { kind: 'team', name: `Team ${began} ${n}` } }))
        for (let n = 0; least() < many; n++) {
          await wake(n)
          for (const until = performance.now() + 3_000; least() < many && performance.now() < until; ) await pause(5)
          if (performance.now() - began > 120_000) throw new Error(`${least()} of ${many} events came.`)
        }
        await load(made.length, 1, (i) => main.at('events', `/api/v1/webhooks/${made[i]}`, { headers, method: 'DELETE' }))
        const [from, to] = [
          Math.min(...chosen.map(({ came }) => came[0] ?? 0)),
          Math.max(...chosen.map(({ came }) => came[many - 1] ?? 0)),
        ]
        return ((to - from) * 1000) / many
      }
      const took = await inTurns(quick ? 3 : 8, { numbering, reading, one: sending(1), three: sending(3) })
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
            { label: 'sent to one webhook', value: spread(took.one), unit: 'µs' },
            { label: 'sent to three webhooks, each of which gets all', value: spread(took.three), unit: 'µs' },
          ],
          note: `For each event: ${perSecond(took.numbering)} a second are numbered, ${perSecond(took.reading)} read by one caller, ${perSecond(took.one)} sent, one after the other, to one webhook that answers at once, and ${perSecond(took.three)} to each of three.`,
        },
      ]
    } finally {
      for (const { close } of receivers) close()
      await postgres.end()
    }
  },
}
