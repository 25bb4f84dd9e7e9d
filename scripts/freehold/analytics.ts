import { InvalidArgumentError } from 'commander'
import { z } from 'zod'
import { type Api, withApi } from './api.ts'
import type { Command } from './command.ts'
import { CREDENTIAL_SETTINGS } from './credentials.ts'
import type { Globals } from './options.ts'
import { print, printJson, tell } from './output.ts'
import { findTenant } from './registry.ts'
import { pairs, table } from './table.ts'

const Group = z.array(z.object({ value: z.string().nullable(), tenants: z.number(), people: z.number() }))
const Day = z.object({
  day: z.string(),
  tenants: z.number(),
  people: z.number(),
  logins: z.number(),
  failures: z.number(),
  mails: z.number(),
})
const Analytics = z.looseObject({
  tenants: z.looseObject({
    total: z.number(),
    people: z.number(),
    by_status: Group,
    by_plan: Group,
    by_region: Group,
    by_schema_version: Group,
    by_environment: Group,
    by_isolation: Group,
  }),
  totals: z.object({ logins: z.number(), failures: z.number(), mails: z.number() }),
  days: z.array(Day),
})
const Usage = z.looseObject({
  as_of: z.string(),
  people: z.number().nullable(),
  sessions: z.number().nullable(),
  storage_bytes: z.number().nullable(),
  compute_seconds: z.number().nullable(),
  month_began_at: z.string(),
  missing: z.array(z.object({ field: z.string(), reason: z.string() })),
})

const GROUPS = ['status', 'plan', 'region', 'schema_version', 'environment', 'isolation'] as const
const REASONS: Record<string, string> = {
  database_did_not_answer: 'its database did not answer',
  no_database: 'it has no database',
  neon_did_not_answer: 'Neon did not answer',
  compute_is_shared: 'its compute is in a project with others',
  not_ours: "it is in somebody else's account at Neon",
}

type Wanted = Globals & { from?: string; to?: string; tenant?: string }

/** The command that shows tenants and their days in numbers. */
export function addAnalytics(program: Command): void {
  program
    .command('analytics')
    .description('show how many tenants there are, and the people, logins, failures and mails of each day')
    .example()
    .example('--from 2026-03-01 --to 2026-03-31 --tenant acme')
    .option('--from <day>', 'the first day (UTC), as 2026-03-01; default: 29 days before the last', day)
    .option('--to <day>', 'the last day (UTC); default: today', day)
    .option('--tenant <tenant>', 'the days of one tenant: its id or its subdomain')
    .addHelpText('after', `\nNo tenant is woken for it: numbers are of its last maintenance.\n${CREDENTIAL_SETTINGS}`)
    .action((_, command: Command) => {
      const options = command.optsWithGlobals<Wanted>()
      return withApi(options, (api) => analytics(api, options))
    })
}

/** The command that shows what one tenant uses. */
export function addUsage(tenants: Command): void {
  tenants
    .command('usage')
    .description('show people, sessions, storage and compute time of a tenant; its database is asked, and wakes')
    .example('acme')
    .argument('<tenant>', 'its id or its subdomain')
    .action((name: string, _, command: Command) => {
      const options = command.optsWithGlobals<Globals>()
      return withApi(options, (api) => usage(api, name, options))
    })
}

async function analytics(api: Api, { json, from, to, tenant: name }: Wanted): Promise<void> {
  const tenant = name === undefined ? undefined : (await findTenant(api, name)).id
  const query = new URLSearchParams(Object.entries({ from, to, tenant }).flatMap(([key, value]) => (value ? [[key, value]] : [])))
  const found = await api.call(Analytics, 'GET', `/analytics?${query}`)
  if (json) return printJson(found)
  const { tenants, days } = found
  if (tenant === undefined) {
    print(`${tenants.total} tenants with ${tenants.people} people\n`)
    const rows = GROUPS.flatMap((group) =>
      tenants[`by_${group}`].map(({ value, tenants, people }) => [group, value ?? '-', String(tenants), String(people)]),
    )
    print(`${table(['BY', 'VALUE', 'TENANTS', 'PEOPLE'], rows)}\n`)
  }
  if (!days.length) return tell('Nobody said anything of these days yet.')
  const numbers = days.map(({ day, ...counts }) =>
    [counts.tenants, counts.people, counts.logins, counts.failures, counts.mails].map(String).toSpliced(0, 0, day),
  )
  print(table(['DAY (UTC)', 'TENANTS', 'PEOPLE', 'LOGINS', 'FAILURES', 'MAILS'], numbers))
}

async function usage(api: Api, name: string, { json }: { json?: boolean }): Promise<void> {
  const tenant = await findTenant(api, name)
  const found = await api.call(Usage, 'GET', `/tenants/${tenant.id}/usage`)
  if (json) return printJson(found)
  const { people, sessions, storage_bytes, compute_seconds, as_of, missing } = found
  const shown = (field: string, value: string | number | null) => {
    const reason = missing.find((one) => one.field === field)?.reason
    return value === null ? `unknown: ${REASONS[reason ?? ''] ?? reason ?? 'no reason was given'}` : String(value)
  }
  print(
    pairs([
      ['tenant', tenant.subdomain],
      ['people', shown('people', people)],
      ['sessions', shown('sessions', sessions)],
      ['storage', shown('storage_bytes', storage_bytes && `${(storage_bytes / 2 ** 20).toFixed(1)} MiB`)],
      ['compute', shown('compute_seconds', compute_seconds === null ? null : `${compute_seconds} CU-seconds this month`)],
      ['as of (UTC)', as_of.slice(0, 19).replace('T', ' ')],
    ]),
  )
}

function day(text: string): string {
  if (!z.iso.date().safeParse(text).success) throw new InvalidArgumentError('It must be a date, as 2026-03-31.')
  return text
}
