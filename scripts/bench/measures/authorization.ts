import { type SQL, sql } from 'drizzle-orm'
import { batch, useSqlUrl } from '../../../src/kernel/db.ts'
import type { Measure } from '../finding.ts'
import { admit } from '../inside/admit.ts'
import { ASKER, CHAIN, carriedBy, DELEGATED, PLAIN, plantGrants } from '../inside/grants.ts'
import { analyze, idOf, plantPeople, plantSession } from '../inside/people.ts'
import { hundredChecks } from '../inside/questions.ts'
import { makeInside } from '../inside/tenant.ts'
import { differences, inTurns, spread } from '../samples.ts'

const PEOPLE = 20_000
const CALLS = 5

/** The admission and the questions of services in a tenant with many people, roles and grants, against `select 1`. */
export const authorization: Measure = {
  name: 'authorization',
  async run(stage) {
    const inside = await makeInside(stage, 'authorization')
    const postgres = await inside.connect('superuser')
    const credential = { asker: '', plain: '', administrator: '' }
    const reference = { person: '', unit: '' }
    try {
      await plantPeople(postgres, PEOPLE)
      await plantGrants(postgres, PEOPLE)
      credential.asker = await plantSession(postgres, idOf('person', ASKER))
      credential.plain = await plantSession(postgres, idOf('person', PLAIN))
      credential.administrator = await plantSession(postgres, `(select u.id from freehold.users u where u.role = 'admin')`)
      const { rows } = await postgres.query<typeof reference>(
        `select ${idOf('person', ASKER)}::text as person, ${idOf('unit', ASKER)}::text as unit`,
      )
      Object.assign(reference, rows[0])
      await analyze(postgres)
    } finally {
      await postgres.end()
    }
    stage.say(`${PEOPLE.toLocaleString('en')} users and their grants are planted.`)
    const questions = JSON.stringify(hundredChecks(reference))
    const ask = sql`select access.ask(${questions}::jsonb)`
    useSqlUrl(stage.stack.neon.sqlUrl)
    const took = (...statements: SQL[]) => {
      return async () => {
        const times: number[] = []
        for (let i = 0; i < CALLS; i++) {
          const started = performance.now()
          await batch(inside.app_url, statements)
          times.push(performance.now() - started)
        }
        return spread(times).median
      }
    }
    const admitted = (name: string | null) => admit(inside.id, credential.asker, name)
    const administrator = (name: string | null) => admit(inside.id, credential.administrator, name)
    const things = {
      select: took(sql`select 1`),
      anybody: took(admitted(null)),
      inherited: took(admitted(carriedBy(CHAIN, 4, 0))),
      plain: took(admit(inside.id, credential.plain, carriedBy(CHAIN, 4, 0))),
      delegated: took(admitted(carriedBy(DELEGATED, 4, 2))),
      administrator: took(administrator('user:read')),
      ask: took(admitted(null), ask),
      askAdministrator: took(administrator(null), ask),
    }
    await inTurns(3, things)
    const turns = await inTurns(stage.quick ? 30 : 160, things)
    const part = (label: string, values: number[]) => ({ label, value: spread(values), unit: 'ms' as const })
    const select = part('`select 1`', turns.select)
    const tenant = `${PEOPLE.toLocaleString('en')} people, 50 roles`
    return [
      {
        title: `Admission with a permission - \`select 1\`, ${tenant}, warm`,
        value: differences(turns.inherited, turns.select),
        unit: 'ms',
        goal: 1,
        parts: [
          select,
          part('access.admit, any person', turns.anybody),
          part('access.admit, a permission inherited through five roles', turns.inherited),
          part('access.admit, the same, nothing delegated', turns.plain),
          part('access.admit, a permission that is delegated', turns.delegated),
          part('access.admit, the administrator', turns.administrator),
        ],
        note: 'Wall time through the local Neon, one connection, each the median of 5 calls. 3,000 grants; who asks holds two roles, a grant and a denial of their own, and two delegations.',
      },
      {
        title: `100 checks about oneself - \`select 1\`, ${tenant}, warm`,
        value: differences(turns.ask, turns.select),
        unit: 'ms',
        goal: 10,
        parts: [select, part('100 checks', turns.ask), part('100 checks, the administrator', turns.askAdministrator)],
        note: 'Admission and access.ask in one round trip: permissions that are held by a role, inherited, overridden, denied, delegated or not held, roles, things of a person and of a unit.',
      },
    ]
  },
}
