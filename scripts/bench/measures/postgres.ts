import type { Client } from 'pg'
import { claimed } from '../../../src/kernel/token.ts'
import { hash } from '../../../src/passwords/hash.ts'
import type { Finding, Measure } from '../finding.ts'
import { floorParams, plantFloors } from '../inside/floors.ts'
import { CHAIN, carriedBy, makeOrdinary, ORDINARY_PERMISSION, plainPeople, plantGrants } from '../inside/grants.ts'
import { analyze, idOf, plantPasswords, plantPeople } from '../inside/people.ts'
import { hundredChecks } from '../inside/questions.ts'
import { makeInside } from '../inside/tenant.ts'
import { ask, load, type Target } from '../load.ts'
import { familyCpuMs, parentOf } from '../proc.ts'
import { differences, inTurns, ratios, type Spread, spread } from '../samples.ts'
import type { Stage } from '../stage.ts'

const SUBDOMAIN = 'costs'
const PEOPLE = 20_000
const PASSWORD = 'Marble-Kettle-52'
/** Connections, and the sessions that ask over them. */
const LINES = 16
/** Logins on each connection before the first that counts: Postgres plans a statement anew for its first five executions. */
const WARM = 5

/** A number of equal requests, and the sending of them. */
type Work = { count: number; run: () => Promise<unknown> }
type Tokens = { access_token: string; refresh_token: string }

/**
 * CPU of Postgres for each request: that of all processes of the cluster while equal requests come over sixteen connections. Who
 * asks is an ordinary person of a large tenant; the bare batch is one `select 1` in the same database.
 */
export const postgres: Measure = {
  name: 'postgres',
  async run(stage) {
    const inside = await makeInside(stage, SUBDOMAIN)
    const superuser = await inside.connect('superuser')
    try {
      const rounds = stage.quick ? 5 : 24
      const works = await worksOf(stage, await plant(superuser, LINES * (3 + WARM + rounds)))
      stage.say(`${PEOPLE.toLocaleString('en')} users are planted, ${3 * LINES} of them are logged in.`)
      const { rows } = await superuser.query<{ pid: number }>('select pg_backend_pid() as pid')
      const postmaster = await parentOf(rows[0]?.pid ?? 0)
      const workerd: Record<string, number[]> = {}
      const cost = (name: keyof typeof works) => async () => {
        const { count, run } = works[name]
        const before = [await familyCpuMs(postmaster), await stage.workerd.cpuMs()] as const
        await run()
        const after = [await familyCpuMs(postmaster), await stage.workerd.cpuMs()] as const
        workerd[name] = [...(workerd[name] ?? []), (after[1] - before[1]) / count]
        return (after[0] - before[0]) / count
      }
      const things = Object.fromEntries(NAMES.map((name) => [name, cost(name)])) as Record<Name, () => Promise<number>>
      await inTurns(2, things)
      for (let round = 2; round < WARM; round++) await works.login.run()
      for (const values of Object.values(workerd)) values.length = 0
      const took = await inTurns(rounds, things)
      return findings(took, (name) => spread(workerd[name] ?? []))
    } finally {
      await superuser.end()
    }
  },
}

const NAMES = [
  'bare',
  'nothing',
  'reads',
  'writes',
  'enters',
  'me',
  'administrator',
  'check',
  'richCheck',
  'hundred',
  'key',
  'list',
  'refresh',
  'richRefresh',
  'login',
] as const
type Name = (typeof NAMES)[number]

/** Plants the people, of whom `count` have a password, and returns their usernames, and a person and a unit to ask about. */
async function plant(superuser: Client, count: number) {
  const people = plainPeople(count)
  await plantPeople(superuser, PEOPLE)
  await plantGrants(superuser, PEOPLE)
  await makeOrdinary(superuser, people.slice(LINES))
  const usernames = await plantPasswords(superuser, people, await hash(PASSWORD, 600_000))
  const { rows } = await superuser.query<{ person: string; unit: string }>(
    `select ${idOf('person', people[0] ?? 0)} as person, ${idOf('unit', people[0] ?? 0)} as unit`,
  )
  // As of users who have logged in before.
  await superuser.query(`insert into freehold.lockouts (key) select 'login:' || user_id from freehold.passwords`)
  await plantFloors(superuser)
  await analyze(superuser)
  // Or it writes the planted pages while something is measured.
  await superuser.query('checkpoint')
  return { usernames, reference: rows[0] ?? { person: '', unit: '' } }
}

/** Opens the sessions, and returns the requests that are compared. */
async function worksOf(stage: Stage, { usernames, reference }: Awaited<ReturnType<typeof plant>>): Promise<Record<Name, Work>> {
  const { main, tenant } = stage
  const at = (path: string, more?: Partial<Target>) => main.at(SUBDOMAIN, `/api/v1${path}`, more)
  const entering = (username = '') => at('/auth/login', { body: { username, password: PASSWORD } })
  const enter = () => Promise.all(usernames.splice(0, LINES).map((username) => ask<Tokens>(entering(username))))
  const [richLines, lines, spare] = [await enter(), await enter(), await enter()]
  const bearersOf = (some: Tokens[]) => some.map(({ access_token }) => ({ Authorization: `Bearer ${access_token}` }))
  const [rich, bearers] = [bearersOf(richLines), bearersOf(lines)]
  const wanted = { name: 'bench', permissions: ['user:read'] }
  const keys = await Promise.all(
    bearers.map(async (headers) => ({
      'X-API-Key': (await ask<{ key: string }>(at('/api-keys', { headers, body: wanted }))).key,
    })),
  )
  const administrator = [{ Authorization: `Bearer ${await stage.signIn()}` }]
  await ask(main.at(SUBDOMAIN, '/bench/subject', { body: { subdomain: SUBDOMAIN, token: lines[0]?.access_token } }))

  const spares = spare.map(({ access_token }) => {
    const { sid, sub } = claimed(access_token) ?? {}
    return { session_id: String(sid), user_id: String(sub) }
  })
  const floor = (name: string) => (i: number) => {
    const params = floorParams(spares[i % spares.length] ?? { session_id: '', user_id: '' })
    return main.at(SUBDOMAIN, '/bench/statement', { body: { text: `select bench.${name}($1, $2, $3, $4)`, params } })
  }
  const loaded = (count: number, target: (i: number) => Target): Work => ({ count, run: () => load(count, LINES, target) })
  const asked = (count: number, path: string, { as = bearers as Record<string, string>[], body = undefined as unknown } = {}) =>
    loaded(count, (i) => at(path, { headers: as[i % as.length] ?? {}, body }))
  /** Each session walks its own chain, because a token is exchanged once. */
  const exchanged = (times: number, some: Tokens[]): Work => ({
    count: LINES * times,
    run: () =>
      Promise.all(
        some.map(async (line) => {
          for (let i = 0; i < times; i++)
            Object.assign(line, await ask<Tokens>(at('/auth/refresh-token', { body: { refresh_token: line.refresh_token } })))
        }),
      ),
  })
  return {
    bare: loaded(240, () => main.at(SUBDOMAIN, '/bench/drizzle')),
    me: asked(240, '/auth/me'),
    administrator: loaded(240, () => main.at(tenant.subdomain, '/api/v1/auth/me', { headers: administrator[0] ?? {} })),
    check: asked(240, '/authz/check', { body: { checks: [{ permission: ORDINARY_PERMISSION }] } }),
    richCheck: asked(240, '/authz/check', { as: rich, body: { checks: [{ permission: carriedBy(CHAIN, 4, 0) }] } }),
    hundred: asked(48, '/authz/check', { as: rich, body: { checks: hundredChecks(reference) } }),
    key: asked(240, '/auth/me', { as: keys }),
    list: asked(96, '/users?limit=50'),
    refresh: exchanged(8, lines),
    richRefresh: exchanged(4, richLines),
    nothing: loaded(240, floor('nothing')),
    reads: loaded(240, floor('reads')),
    writes: loaded(120, floor('writes')),
    enters: loaded(120, floor('enters')),
    login: loaded(LINES, () => entering(usernames.pop())),
  }
}

function findings(took: Record<Name, number[]>, workerd: (name: Name) => Spread): Finding[] {
  const parts = (name: Name, label: string): Finding['parts'] => [
    { label: 'the bare batch', value: spread(took.bare), unit: 'ms' },
    { label, value: spread(took[name]), unit: 'ms' },
    { label: 'the bare batch, CPU of workerd', value: workerd('bare'), unit: 'ms' },
    { label: `${label}, CPU of workerd`, value: workerd(name), unit: 'ms' },
  ]
  const multiple = (name: Name, label: string, goal: number | null, note: string): Finding => ({
    title: `${label} / a bare batch, CPU of Postgres`,
    value: ratios(took[name], took.bare),
    unit: 'x',
    goal,
    parts: parts(name, label),
    note,
  })
  const me = multiple(
    'me',
    'GET /auth/me',
    2.5,
    `CPU of all processes of the cluster for each request, over ${LINES} connections, and beside it that of workerd. Among it is what the local Neon, as Neon's proxy does, sends after each request to reset the connection. Who asks has a role with twenty permissions, which inherits twenty more, in a tenant with ${PEOPLE.toLocaleString('en')} people and 52 roles; the bare batch is a transaction with one \`select 1\` in the same database, sent by drizzle. A floor is a function that does only what it is named for, called with the admission's parameters in the same database: no request can cost less than its floor, and none meets a goal below it. [Decision 21](decisions/0021-what-a-request-costs-postgres.md) says where the rest goes.`,
  )
  const beside = (name: Name, label: string): Finding['parts'] => [
    { label, value: spread(took[name]), unit: 'ms' },
    { label: 'the same / a bare batch', value: ratios(took[name], took.bare), unit: 'x' },
  ]
  me.parts.push(
    ...beside('nothing', "the floor: a function with the admission's parameters that does nothing"),
    ...beside('reads', 'the floor: and reads the tenant, its key, the session and the user, by their keys'),
    ...beside('administrator', 'GET /auth/me, the administrator of a small tenant'),
  )
  const check = multiple('check', 'One check', 3, 'POST /authz/check about oneself: a permission that is inherited.')
  check.parts.push(...beside('richCheck', 'One check of somebody whose role inherits through four others'))
  const refresh = multiple('refresh', 'A refresh', 4, 'Each session exchanges the tokens of its own chain.')
  refresh.parts.push(
    ...beside('writes', 'the floor: its three writes alone'),
    ...beside('richRefresh', 'A refresh of somebody with 300 permissions, of which a token carries a hundred'),
  )
  const login = multiple(
    'login',
    'A login',
    8,
    'Two round trips, each login of another person: nobody waits for the row of another.',
  )
  login.parts.push(...beside('enters', 'the floor: its writes alone, in one round trip'))
  return [
    me,
    check,
    multiple(
      'key',
      'GET /auth/me with an API key',
      3,
      'The key holds one permission; what is written for its counted uses is in it.',
    ),
    refresh,
    login,
    multiple(
      'list',
      'GET /users?limit=50',
      null,
      'The first page, by username, for somebody who reads a department of 11 units.',
    ),
    {
      title: '100 checks - a bare batch, CPU of Postgres',
      value: differences(took.hundred, took.bare),
      unit: 'ms',
      goal: 6,
      parts: [
        ...parts('hundred', '100 checks'),
        { label: '100 checks / a bare batch', value: ratios(took.hundred, took.bare), unit: 'x' },
      ],
      note: 'POST /authz/check about oneself: permissions that are held by a role, inherited or not held, roles, things of a person and of a unit.',
    },
  ]
}
