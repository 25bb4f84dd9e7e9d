/** The KV namespace, and what wrangler.toml says instead of its placeholders. */
import { existsSync } from 'node:fs'
import { readFile, rename, writeFile } from 'node:fs/promises'
import { z } from 'zod'
import { placeholdersOf, productionOf } from '../../bundle/placeholders.ts'
import { Failure } from '../failure.ts'
import { type Context, hostsOf } from './context.ts'
import type { Step } from './steps.ts'

const NAMESPACE = 'freehold-tenants'

const Namespaces = z.array(z.object({ id: z.string(), title: z.string() }))
export const accountOf = ({ known }: Context) => known.zone?.account.id ?? '{account id}'

/** The Worker of production, as wrangler.toml declares it. */
export const workerOf = (config: string) => productionOf(config)

/** The KV namespace of the registry's cache. */
export function namespaceStep(context: Context): Step {
  const { api, known } = context
  const path = () => `/accounts/${accountOf(context)}/storage/kv/namespaces`
  return {
    name: 'kv namespace',
    does: "Makes the namespace in which the registry's entries are cached.",
    look: async () => {
      for (let page = 1; ; page++) {
        const all = await api.ask(Namespaces, 'kv', 'GET', `${path()}?per_page=100&page=${page}`)
        const found = all.find(({ title }) => title === NAMESPACE)
        if (found) {
          known.kv_id = found.id
          return { is: 'done', says: `${NAMESPACE} (${found.id})` }
        }
        if (all.length < 100) return { is: 'open', says: `there is no namespace ${NAMESPACE}` }
      }
    },
    plan: () => [`POST ${path()} {"title":"${NAMESPACE}"}`],
    run: async () => {
      const made = await api.ask(Namespaces.element, 'kv', 'POST', path(), { title: NAMESPACE })
      known.kv_id = made.id
      return `${NAMESPACE} (${made.id})`
    },
  }
}

const BUCKET = 'freehold-files'
const Buckets = z.object({ buckets: z.array(z.object({ name: z.string() })) })

/** The bucket of pictures (decision 80), which [env.production] names and a deploy looks for. */
export function bucketStep(context: Context): Step {
  const { api } = context
  const path = () => `/accounts/${accountOf(context)}/r2/buckets`
  return {
    name: 'r2 bucket',
    does: 'Makes the bucket in which pictures of people are kept. It is private: only the Worker reads it.',
    look: async () => {
      const { buckets } = await api.ask(Buckets, 'r2', 'GET', `${path()}?name_contains=${BUCKET}&per_page=100`)
      if (buckets.some(({ name }) => name === BUCKET)) return { is: 'done', says: BUCKET }
      return { is: 'open', says: `there is no bucket ${BUCKET}` }
    },
    plan: () => [`POST ${path()} {"name":"${BUCKET}"}`],
    run: async () => {
      await api.ask(Buckets.shape.buckets.element, 'r2', 'POST', path(), { name: BUCKET })
      return BUCKET
    },
  }
}

/** Below which domain tenants are, as [env.production] says of this domain; else below it. A later run must not move them. */
export function tenantDomainIn(config: string, domain: string): string {
  const known = existsSync(config) ? productionOf(config) : null
  const url = known?.base_url === `https://${domain}` ? known.tenant_url.replace('{subdomain}.', '') : ''
  return URL.canParse(url) ? new URL(url).hostname : domain
}

/** What [env.production] must say. */
export const valuesFor = ({ wanted, known }: Context) => ({
  base_url: `https://${wanted.domain}`,
  /** null: one label below the platform. */
  tenant_url: wanted.tenant_domain === wanted.domain ? null : `https://{subdomain}.${wanted.tenant_domain}`,
  routes: hostsOf(wanted).map((host) => ({ pattern: `${host}/*`, zone_name: known.zone?.name ?? '{zone}' })),
  kv_id: known.kv_id ?? '{id of the namespace}',
  region: wanted.region,
})
type Values = ReturnType<typeof valuesFor>

type Setter = (pattern: RegExp, line: string, is_optional?: true) => void

/** The text of wrangler.toml with [env.production] changed; everything else stays as it is, other environments too. */
function inProduction(text: string, change: (set: Setter) => void): string {
  const start = text.indexOf('[env.production]')
  if (start < 0) throw new Failure('wrangler.toml has no [env.production]: take the one of this release.')
  // Up to the next table that is not one of production.
  const [end] = [...text.matchAll(/^\[{1,2}(?!env\.production[.\]])[\w"']/gm)].flatMap(({ index }) =>
    index > start ? [index] : [],
  )
  let own = text.slice(start, end)
  change((pattern, line, is_optional) => {
    if (!is_optional && !pattern.test(own))
      throw new Failure(
        `wrangler.toml has no line for \`${line.split('\n')[0]}\` under [env.production]: write it there, and run this again.`,
      )
    own = own.replace(pattern, () => line)
  })
  return text.slice(0, start) + own + (end === undefined ? '' : text.slice(end))
}

/** Writes where the platform and its tenants are. */
function setHosts(set: Setter, { base_url, tenant_url }: Pick<Values, 'base_url' | 'tenant_url'>): void {
  const tenants = tenant_url === null ? '' : `\nTENANT_URL = "${tenant_url}"`
  set(/^TENANT_URL *=.*\n/m, '', true)
  set(/^BASE_URL *=.*$/m, `BASE_URL = "${base_url}"${tenants}`)
}

export const withHosts = (text: string, values: Pick<Values, 'base_url' | 'tenant_url'>): string =>
  inProduction(text, (set) => setHosts(set, values))

/** The text of wrangler.toml with these values in [env.production]. */
export const withValues = (text: string, { base_url, tenant_url, routes, kv_id, region }: Values): string =>
  inProduction(text, (set) => {
    setHosts(set, { base_url, tenant_url })
    set(/^NEON_REGION = .*$/m, `NEON_REGION = "${region}"`)
    set(/^kv_namespaces = \[\{ binding = "TENANTS".*\]$/m, `kv_namespaces = [{ binding = "TENANTS", id = "${kv_id}" }]`)
    set(
      /^routes = \[\n[^\]]*\]$/m,
      `routes = [\n${routes.map(({ pattern, zone_name }) => `  { pattern = "${pattern}", zone_name = "${zone_name}" },\n`).join('')}]`,
    )
  })

/** The lines that differ, as `diff` shows them. */
function diff(before: string, after: string): string[] {
  const [old, next] = [before.split('\n'), after.split('\n')]
  return [
    ...old.filter((line) => !next.includes(line)).map((line) => `- ${line}`),
    ...next.filter((line) => !old.includes(line)).map((line) => `+ ${line}`),
  ]
}

/**
 * Writes where tenants are, before anything else is made: a run that is interrupted, and run again without --tenant-domain, goes on with
 * it, because it is taken from there.
 */
export const tenantDomainStep = (context: Context): Step =>
  writing(context, {
    name: 'tenant domain',
    does: 'Writes the addresses of the platform and of its tenants into [env.production], for a later run that does not say them.',
    change: (before) => withHosts(before, valuesFor(context)),
  })

/** Writes wrangler.toml. */
export const configStep = (context: Context): Step =>
  writing(context, {
    name: 'wrangler.toml',
    does: 'Writes the address, the routes, the namespace and the region into [env.production]. Commit it: it holds no secret.',
    change: (before) => withValues(before, valuesFor(context)),
    check: async () => {
      const wrong = placeholdersOf(await workerOf(context.wanted.config))
      if (wrong.length) throw new Failure(`${context.wanted.config} still has placeholders: ${wrong.join(' ')}`)
    },
  })

type Writing = Pick<Step, 'name' | 'does'> & { change: (before: string) => string; check?: () => Promise<void> }

function writing({ wanted }: Context, { name, does, change, check }: Writing): Step {
  let lines: string[] = []
  const texts = async () => {
    const before = await readFile(wanted.config, 'utf8').catch(() => {
      throw new Failure(`--config: ${wanted.config} cannot be read.`)
    })
    return { before, after: change(before) }
  }
  return {
    name,
    does,
    look: async () => {
      const { before, after } = await texts()
      lines = diff(before, after)
      return before === after
        ? { is: 'done', says: `${wanted.config} has them` }
        : { is: 'open', says: `${wanted.config} has other values` }
    },
    plan: () => lines,
    run: async () => {
      const { after } = await texts()
      const draft = `${wanted.config}.${process.pid}.new`
      await writeFile(draft, after)
      await rename(draft, wanted.config)
      await check?.()
      return `${wanted.config} is written`
    },
  }
}
