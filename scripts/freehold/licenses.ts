import { InvalidArgumentError } from 'commander'
import { z } from 'zod'
import { withApi } from './api.ts'
import type { Command } from './command.ts'
import { addLimitOptions, inWords, type LimitOptions, limitsOf } from './limits.ts'
import { type Globals, whole } from './options.ts'
import { plain, print, printJson, tell } from './output.ts'
import { confirm } from './prompt.ts'
import { findTenant } from './registry.ts'
import { table } from './table.ts'

const License = z.looseObject({
  id: z.string(),
  key: z.string(),
  valid_from: z.string(),
  valid_until: z.string(),
  state: z.string(),
  limits: z.record(z.string(), z.unknown()),
})
const LicenseList = z.object({ data: z.array(License), next_cursor: z.string().nullable() })

/** A day (the start of it in UTC) or an instant of RFC 3339. */
function instant(text: string): string {
  if (/^\d{4}-\d\d-\d\d$/.test(text) && !Number.isNaN(Date.parse(text))) return `${text}T00:00:00Z`
  if (z.iso.datetime({ offset: true }).safeParse(text).success) return new Date(text).toISOString()
  throw new InvalidArgumentError('It must be a day, as 2027-01-31, or an instant, as 2027-01-31T12:00:00Z.')
}

/** The commands on the licenses of tenants. */
export function addLicenses(tenants: Command): void {
  const licenses = tenants.command('licenses').description('list, give, end and take back licenses of a tenant')

  licenses
    .command('list')
    .description('list the licenses of a tenant, the last to begin first')
    .example('acme')
    .argument('<tenant>', 'its id or its subdomain')
    .action((name: string, _, command: Command) => {
      const options = command.optsWithGlobals<Globals>()
      return withApi(options, async (api) => {
        const { id } = await findTenant(api, name)
        const found = await api.call(LicenseList, 'GET', `/tenants/${id}/licenses?limit=100`)
        if (options.json) return printJson(found)
        if (!found.data.length) return tell('The tenant has no license, and needs none.')
        const rows = found.data.map((l) => [
          l.id,
          l.key,
          l.state,
          l.valid_from.slice(0, 16),
          l.valid_until.slice(0, 16),
          inWords(l.limits),
        ])
        print(table(['ID', 'KEY', 'STATE', 'FROM (UTC)', 'UNTIL (UTC)', 'LIMITS'], rows))
      })
    })

  const giving = licenses
    .command('give')
    .description('give a tenant a license')
    .example('acme --until 2027-12-31')
    .argument('<tenant>', 'its id or its subdomain')
    .requiredOption('--until <time>', 'when it ends: a day or an instant', instant)
    .option('--from <time>', 'when it begins; default: now', instant)
    .option('--key <key>', 'what it is called outside; default: one is made up')
    .option('--grace-days <n>', 'days after its end in which the tenant goes on; default: LICENSE_GRACE_DAYS', whole(0, 365))
  addLimitOptions(giving).action((name: string, _, command: Command) => {
    const options = command.optsWithGlobals<
      Globals & LimitOptions & { until: string; from?: string; key?: string; graceDays?: number }
    >()
    return withApi(options, async (api) => {
      const { id, subdomain } = await findTenant(api, name)
      const { until, from, key, graceDays } = options
      const body = { valid_until: until, valid_from: from, key, grace_days: graceDays, limits: limitsOf(options) }
      const given = await api.call(License, 'POST', `/tenants/${id}/licenses`, { body })
      if (options.json) printJson(given)
      else tell(`${plain(subdomain)} has the license ${plain(given.key)} until ${plain(given.valid_until)}.`)
    })
  })

  for (const [verb, description, method, path, done, question] of [
    ['end', 'end a license now; its days of grace begin', 'POST', '/end', 'is ended', 'End'],
    ['remove', 'take a license back, as if it had never been given', 'DELETE', '', 'is taken back', 'Take back'],
  ] as const)
    licenses
      .command(verb)
      .description(description)
      .example('acme 0198c2f0-7c1e-7b53-9d1f-3f6f4c6a2b10 --yes')
      .argument('<tenant>', 'its id or its subdomain')
      .argument('<license>', 'its id')
      .option('--yes', 'do not ask')
      .action((name: string, license: string, _, command: Command) => {
        const options = command.optsWithGlobals<Globals & { yes?: boolean }>()
        return withApi(options, async (api) => {
          const { id, subdomain } = await findTenant(api, name)
          await confirm(`${question} the license ${plain(license)} of ${plain(subdomain)}?`, options)
          const answer = await api.call(z.unknown(), method, `/tenants/${id}/licenses/${encodeURIComponent(license)}${path}`)
          if (options.json) printJson(answer ?? { id: license, state: 'removed' })
          else tell(`The license ${license} ${done}.`)
        })
      })
}
