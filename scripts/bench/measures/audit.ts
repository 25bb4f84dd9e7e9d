import type { Client } from 'pg'
import type { Finding, Measure } from '../finding.ts'
import { analyze, idOf, plantPeople, plantRoles } from '../inside/people.ts'
import { makeInside } from '../inside/tenant.ts'
import { inTurns, ratios, spread } from '../samples.ts'

const WRITERS = 16
const ROWS = 1_000
const AUDITS = ['audit_insert', 'audit_update', 'audit_delete']

/**
 * The statements that write a thousand rows; `spare` is a role that no writer assigns. Sessions have no triggers but the audit's.
 */
const BATCHES = {
  user_roles: (spare: number) =>
    `insert into freehold.user_roles (id, user_id, role_id) select gen_random_uuid(), ${idOf('person', 'n')}, ${idOf('role', spare)} from generate_series(1, ${ROWS}) n`,
  units: () =>
    `insert into freehold.units (id, kind, name, parent_id) select gen_random_uuid(), 'team', 'new ' || n, ${idOf('unit', '(n % 20)')} from generate_series(1, ${ROWS}) n`,
  sessions: () =>
    `insert into freehold.sessions (id, user_id, expires_at) select gen_random_uuid(), ${idOf('person', 'n')}, now() + interval '1 day' from generate_series(1, ${ROWS}) n`,
}

/** What the audit's triggers cost writers, alone and concurrently, against the same tables without them. */
export const audit: Measure = {
  name: 'audit',
  async run(stage) {
    const inside = await makeInside(stage, 'audit')
    const postgres = await inside.connect('superuser')
    const writers: Client[] = []
    try {
      while (writers.length < WRITERS) writers.push(await inside.connect('owner'))
      const people = stage.quick ? 12_000 : 40_000
      await plantPeople(postgres, people)
      // A role for each writer: who gives a role locks it, which is no business of the audit.
      const numbers = Array.from({ length: WRITERS + 1 }, (_, number) => number)
      await plantRoles(
        postgres,
        numbers.map((number) => ({ number, name: `role ${number}`, parent: null })),
      )
      await analyze(postgres)
      stage.say(`${people.toLocaleString('en')} users are planted.`)
      return [await sideBySide(postgres, writers, stage.quick), ...(await inOneStatement(postgres, writers, stage.quick))]
    } finally {
      for (const client of [...writers, postgres]) await client.end()
    }
  },
}

/** Switches the audit of a table on or off. */
async function switchAudit(postgres: Client, table: string, on: boolean): Promise<void> {
  const actions = AUDITS.map((name) => `${on ? 'enable' : 'disable'} trigger ${name}`)
  await postgres.query(`alter table freehold.${table} ${actions.join(', ')}`)
}

/** How much more sixteen writers write than one, without the triggers and with them: a lock that they share would show here. */
async function sideBySide(postgres: Client, writers: Client[], quick: boolean): Promise<Finding> {
  const next = writers.map(() => 0)
  /** Rows per second: each writer assigns its role to users who do not have it, in a transaction each. */
  const throughput = (width: number, each: number, on: boolean) => async () => {
    await switchAudit(postgres, 'user_roles', on)
    const started = performance.now()
    await Promise.all(writers.slice(0, width).map((writer, number) => write(writer, number, each)))
    return (width * each) / ((performance.now() - started) / 1000)
  }
  const write = async (writer: Client, number: number, count: number) => {
    const first = next[number] ?? 0
    next[number] = first + count
    // One call for all of its rows, so that it is the database that is busy, not the program that asks.
    await writer.query(`do $$ begin
      for n in ${first}..${first + count - 1} loop
        insert into freehold.user_roles (id, user_id, role_id) values (gen_random_uuid(), ${idOf('person', 'n')}, ${idOf('role', number)});
        commit;
      end loop;
    end $$`)
  }
  const [alone, each] = quick ? [400, 80] : [800, 150]
  const things = {
    oneWith: throughput(1, alone, true),
    manyWith: throughput(WRITERS, each, true),
    oneWithout: throughput(1, alone, false),
    manyWithout: throughput(WRITERS, each, false),
  }
  await inTurns(1, things)
  const took = await inTurns(quick ? 8 : 16, things)
  await switchAudit(postgres, 'user_roles', true)
  const gain = (many: number[], one: number[]) => many.map((value, i) => value / (one[i] ?? Number.NaN))
  const gains = { with: gain(took.manyWith, took.oneWith), without: gain(took.manyWithout, took.oneWithout) }
  const part = (label: string, values: number[]) => ({
    label,
    value: spread(values.map((rows) => 1000 / rows)),
    unit: 'ms' as const,
  })
  return {
    title: `What ${WRITERS} writers gain over one, without the audit's triggers / with them`,
    value: ratios(gains.without, gains.with),
    unit: 'x',
    goal: 1.11,
    parts: [
      { label: 'gain without', value: spread(gains.without), unit: 'x' },
      { label: 'gain with', value: spread(gains.with), unit: 'x' },
      part('one row, one writer, without', took.oneWithout),
      part('one row, one writer, with', took.oneWith),
      part(`one row, ${WRITERS} writers, without`, took.manyWithout),
      part(`one row, ${WRITERS} writers, with`, took.manyWith),
    ],
    note: 'Inserts into user_roles as the owner login, a transaction for each row, each writer into a role of its own. Wall time, divided by the rows.',
  }
}

/** A thousand rows of one statement, with the triggers and without them. */
async function inOneStatement(postgres: Client, [writer]: Client[], quick: boolean): Promise<Finding[]> {
  const findings: Finding[] = []
  for (const table of Object.keys(BATCHES) as (keyof typeof BATCHES)[]) {
    const took = (on: boolean) => async () => {
      await switchAudit(postgres, table, on)
      await writer?.query('begin')
      const started = performance.now()
      await writer?.query(BATCHES[table](WRITERS))
      const ms = performance.now() - started
      await writer?.query('rollback')
      return ms
    }
    const things = { without: took(false), with: took(true) }
    await inTurns(2, things)
    const turns = await inTurns(quick ? 8 : 24, things)
    await switchAudit(postgres, table, true)
    findings.push({
      title: `${ROWS.toLocaleString('en')} rows of ${table} in one statement, with the audit's triggers / without`,
      value: ratios(turns.with, turns.without),
      unit: 'x',
      goal: table === 'sessions' ? null : 3,
      parts: [
        { label: 'without', value: spread(turns.without), unit: 'ms' },
        { label: 'with', value: spread(turns.with), unit: 'ms' },
      ],
      note: 'Wall time of the statement as the owner login, with what else the rules of the table do, which is undone after it.',
    })
  }
  return findings
}
