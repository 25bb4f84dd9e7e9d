import { sql } from 'drizzle-orm'
import type { Client } from 'pg'
import type { Finding, Measure } from '../finding.ts'
import { admit } from '../inside/admit.ts'
import { analyze, idOf, planting, plantPeople, plantSession } from '../inside/people.ts'
import { run } from '../inside/plan.ts'
import { makeInside } from '../inside/tenant.ts'
import { familyCpuMs, parentOf } from '../proc.ts'
import { inTurns, ratios, type Spread, spread } from '../samples.ts'

const LARGE = 10_000
const SMALL = 1_000
/** What one step of the scheduled job lets go (src/tenants/maintenance/organizations.ts). */
const STEP = 100
const FATES = ['keep', 'deactivate', 'erase'] as const

/**
 * Wiping out an organization of ten thousand people: counting it, beginning, and a step of the job, each of which is undone. Beside it one
 * of a tenth: what a step costs must not depend on how many are left.
 */
export const wiping: Measure = {
  name: 'wiping',
  async run(stage): Promise<Finding[]> {
    const inside = await makeInside(stage, 'wiping')
    const postgres = await inside.connect('superuser')
    const app = await inside.connect('app')
    try {
      await plantPeople(postgres, LARGE + SMALL)
      await plantOrganization(postgres, 'large', 0, LARGE)
      await plantOrganization(postgres, 'small', LARGE, LARGE + SMALL)
      await analyze(postgres)
      stage.say(`Organizations of ${LARGE.toLocaleString('en')} and ${SMALL.toLocaleString('en')} people are planted.`)
      const { rows } = await postgres.query<{ pid: number; admin: string }>(
        `select pg_backend_pid() as pid, (select ur.user_id from freehold.user_roles ur join freehold.roles r on r.id = ur.role_id where r.is_admin limit 1)::text as admin`,
      )
      const [{ pid, admin } = { pid: 0, admin: '' }] = rows
      const postmaster = await parentOf(pid)
      const credential = await plantSession(postgres, `'${admin}'::uuid`)
      const undone = async (client: Client, work: () => Promise<number>) => {
        await client.query('begin')
        try {
          const [before, started] = [await familyCpuMs(postmaster), performance.now()]
          const people = await work()
          return { cpu: ((await familyCpuMs(postmaster)) - before) / people, wall: performance.now() - started, people }
        } finally {
          await client.query('rollback')
        }
      }
      const asked = (dry_run: boolean) =>
        undone(app, async () => {
          await run(app, admit(inside.id, credential, 'organization:delete'))
          const id = idOf('organization', "'large'")
          await run(app, sql.raw(`select access.end_organization((select ${id}), 'large', 'deactivate', ${dry_run})`))
          return 1
        })
      const step = (name: string, fate: string) =>
        undone(postgres, async () => {
          await postgres.query(
            `update freehold.organizations set state = 'ending', ending_people = '${fate}', ending_by = '${admin}', ending_counts = '{}'
             where id = ${idOf('organization', `'${name}'`)}`,
          )
          const { rows } = await postgres.query<{ answer: object }>(`select access.wipe_organizations(${STEP}) as answer`)
          if (JSON.stringify(rows[0]?.answer) !== '{"wiped":0,"is_done":false}')
            throw new Error(`A step answered ${JSON.stringify(rows[0]?.answer)}.`)
          const left = await postgres.query<{ n: number }>(
            `select count(*)::int as n from freehold.users where organization_id = ${idOf('organization', `'${name}'`)}`,
          )
          return (name === 'large' ? LARGE : SMALL) - (left.rows[0]?.n ?? 0)
        })
      type Took = { cpu: number; wall: number; people: number }
      const taken: Record<string, Took[]> = {}
      const timed = (label: string, work: () => Promise<Took>) => async () => {
        const took = await work()
        taken[label] = [...(taken[label] ?? []), took]
        return took.cpu
      }
      const things = Object.fromEntries([
        ['counted', timed('counted', () => asked(true))] as const,
        ['begun', timed('begun', () => asked(false))] as const,
        ...FATES.flatMap((fate) =>
          ['large', 'small'].map((name) => [`${fate} ${name}`, timed(`${fate} ${name}`, () => step(name, fate))] as const),
        ),
      ])
      await inTurns(1, things)
      for (const label of Object.keys(taken)) taken[label] = []
      const cpu = await inTurns(stage.quick ? 5 : 15, things)
      const wall = (label: string) => spread((taken[label] ?? []).map((took) => took.wall))
      const steps = FATES.map((fate) => ({ label: `a step, ${fate}`, value: wall(`${fate} large`), unit: 'ms' as const }))
      const growth = FATES.map((fate) => ({
        label: fate,
        value: ratios(cpu[`${fate} large`] ?? [], cpu[`${fate} small`] ?? []),
        unit: 'x' as const,
      }))
      return [
        {
          title: `Wiping out an organization of ${LARGE.toLocaleString('en')} people, the slowest step`,
          value: worst(steps),
          unit: 'ms',
          goal: 1000,
          parts: [
            { label: 'counted, as a dry run does', value: wall('counted'), unit: 'ms' },
            { label: 'begun', value: wall('begun'), unit: 'ms' },
            ...steps,
            ...FATES.map((fate) => ({
              label: `people in a step, ${fate}`,
              value: spread((taken[`${fate} large`] ?? []).map(({ people }) => people)),
              unit: 'rows' as const,
            })),
            ...FATES.map((fate) => ({
              label: `CPU of Postgres for each person, ${fate}`,
              value: spread(cpu[`${fate} large`] ?? []),
              unit: 'ms' as const,
            })),
          ],
          note: 'Wall time in the database, each in a transaction that is undone. A step ends after half a second, or so many people; the job makes 50 a run.',
        },
        {
          title: `Wiping out one person, of ${LARGE.toLocaleString('en')} / of ${SMALL.toLocaleString('en')}, CPU of Postgres`,
          value: worst(growth),
          unit: 'x',
          goal: 1.5,
          parts: growth,
          note: 'What it costs to let somebody go does not depend on how many are left.',
        },
      ]
    } finally {
      await app.end()
      await postgres.end()
    }
  },
}

const worst = (parts: { value: Spread }[]): Spread =>
  parts.map(({ value }) => value).reduce((one, other) => (other.median > one.median ? other : one))

/** An organization with its unit, and the people of these numbers in it. */
const plantOrganization = (postgres: Client, name: string, from: number, to: number) =>
  planting(postgres, [
    `insert into freehold.organizations (id, name, unit_id, active_users)
     values (${idOf('organization', `'${name}'`)}, '${name}', ${idOf('organization unit', `'${name}'`)}, ${to - from})`,
    `insert into freehold.units (id, kind, name, organization_id) values (${idOf('organization unit', `'${name}'`)}, 'department', '${name}', ${idOf('organization', `'${name}'`)})`,
    `update freehold.users set organization_id = ${idOf('organization', `'${name}'`)}, unit_id = ${idOf('organization unit', `'${name}'`)}
     where id in (select ${idOf('person', 'n')} from generate_series(${from}, ${to - 1}) n)`,
  ])
