import pg from 'pg'
import { hash } from '../../../src/passwords/hash.ts'
import type { Measure } from '../finding.ts'
import { idOf, plantPasswords, plantPeople } from '../inside/people.ts'
import { send } from '../load.ts'
import { inTurns, spread } from '../samples.ts'

const SUBDOMAIN = 'refusals'
const PASSWORD = 'Marble-Kettle-52'
/** Two attempts for each user, well below the lockout. */
const TRIES_OF_ONE = 2

/**
 * Whether the time of a refused login reveals known users: an unknown identifier, a wrong password, the right password of a
 * locked user.
 */
export const refusals: Measure = {
  name: 'refusals',
  async run(stage) {
    const tries = stage.quick ? 40 : 200
    await stage.makeTenant(SUBDOMAIN, await stage.operatorToken())
    const url = new URL(stage.stack.neon.postgresUrl)
    url.pathname = `/freehold_${SUBDOMAIN}`
    const postgres = new pg.Client({ connectionString: url.href })
    await postgres.connect()
    try {
      await plantPeople(postgres, tries)
      const people = Array.from({ length: tries }, (_, n) => n)
      const names = await plantPasswords(postgres, people, await hash(PASSWORD, 600_000))
      await postgres.query(
        `insert into freehold.lockouts (key, failures, failed_at, locked_until) values ('login:' || ${idOf('person', 0)}, 5, now(), now() + interval '1 day')`,
      )
      let asked = 0
      const refused = (username: () => string, password: string) => async () => {
        const answer = await send(stage.main.at(SUBDOMAIN, '/api/v1/auth/login', { body: { username: username(), password } }))
        if (answer.status !== 401) throw new Error(`A login answered ${answer.status}: ${answer.text.slice(0, 300)}`)
        return answer.ms
      }
      const things = {
        unknown: refused(() => `nobody-${asked++}`, 'Wrong-1'),
        wrong: refused(() => names[1 + (Math.floor(asked++ / TRIES_OF_ONE) % (names.length - 1))] ?? '', 'Wrong-1'),
        locked: refused(() => names[0] ?? '', PASSWORD),
      }
      await inTurns(4, things)
      const took = await inTurns(tries, things)
      const medians = Object.values(took).map((values) => spread(values).median)
      const most = Math.max(...medians) / Math.min(...medians)
      return [
        {
          title: 'A refused login: the slowest of unknown, wrong and locked / the fastest, medians',
          value: { median: most, low: most, high: most, n: 1 },
          unit: 'x',
          goal: 1.05,
          parts: [
            { label: 'an unknown identifier', value: spread(took.unknown), unit: 'ms' },
            { label: 'a wrong password', value: spread(took.wrong), unit: 'ms' },
            { label: 'the right password of somebody who is locked', value: spread(took.locked), unit: 'ms' },
          ],
          note: `Wall time of ${tries} tries each, one after another in turns.`,
        },
      ]
    } finally {
      await postgres.end()
    }
  },
}
