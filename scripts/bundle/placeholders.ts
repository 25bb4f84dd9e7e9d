/**
 * Refuses to deploy wrangler.toml as it is in the repository: `npm run deploy` runs it first. A dry run (`npm run bundle`) is none.
 * Threat: a Worker on routes that nobody owns, or with a KV namespace that is not there, and nobody sees why it does not answer.
 */
import { fileURLToPath } from 'node:url'
import { unstable_readConfig as readConfig } from 'wrangler'
import { z } from 'zod'
import { PLACEHOLDER } from '../../src/kernel/config.ts'

/** What is read of wrangler's reading of its configuration. */
const Read = z.object({
  name: z.string().default(''),
  vars: z.record(z.string(), z.unknown()),
  kv_namespaces: z.array(z.object({ binding: z.string(), id: z.string().optional() })),
  routes: z.array(z.union([z.string(), z.object({ pattern: z.string(), zone_name: z.string().optional() })])).default([]),
  triggers: z.object({ crons: z.array(z.string()).optional() }),
  workflows: z.array(z.object({ name: z.string() })),
})
export type Production = ReturnType<typeof productionOf>

/** What [env.production] of a configuration says. */
export function productionOf(config: string) {
  const { name, vars, kv_namespaces, routes, triggers, workflows } = Read.parse(
    readConfig({ config, env: 'production' }, { hideWarnings: true }),
  )
  return {
    name,
    base_url: String(vars.BASE_URL ?? ''),
    /** '' where tenants are below the host of the platform. */
    tenant_url: String(vars.TENANT_URL ?? ''),
    kv_id: kv_namespaces.find(({ binding }) => binding === 'TENANTS')?.id ?? '',
    routes: routes.map((route) => (typeof route === 'string' ? { pattern: route } : route)),
    crons: triggers.crons ?? [],
    workflows: workflows.map((workflow) => workflow.name),
  }
}

/** The placeholders in it, each in a sentence that names it. */
export function placeholdersOf({ base_url, tenant_url, kv_id, routes }: Production): string[] {
  const hostOf = (url: string) => (URL.canParse(url) ? new URL(url).hostname : '')
  const host = hostOf(base_url)
  const tenants = hostOf(tenant_url.replace('{subdomain}.', ''))
  const hosts = routes.flatMap(({ pattern, zone_name }) => [pattern.replace(/^\*\./, '').replace(/\/.*$/, ''), zone_name ?? ''])
  return [
    ...(!host || PLACEHOLDER.test(host)
      ? [`BASE_URL is ${base_url || 'not set'}: set the https:// address of your domain.`]
      : []),
    ...(tenant_url && (!tenants || PLACEHOLDER.test(tenants))
      ? [`TENANT_URL is ${tenant_url}: set the https:// address of your tenants, or remove it.`]
      : []),
    ...(hosts.some((each) => PLACEHOLDER.test(each))
      ? [`routes name ${hosts.find((each) => PLACEHOLDER.test(each))}: set your domain and its zone.`]
      : []),
    ...(/^[0-9a-f]{32}$/.test(kv_id) && !/^0+$/.test(kv_id)
      ? []
      : [
          `The id of the KV namespace TENANTS is ${kv_id || 'not set'}: make one (npx wrangler kv namespace create TENANTS --env production).`,
        ]),
  ]
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const config = process.argv[2] ?? fileURLToPath(new URL('../../wrangler.toml', import.meta.url))
  const found = placeholdersOf(productionOf(config))
  for (const sentence of found) process.stderr.write(`error: wrangler.toml, [env.production]: ${sentence}\n`)
  if (found.length) process.stderr.write('`npm run freehold -- setup <domain> --email <address>` makes and writes them.\n')
  process.exitCode = found.length ? 1 : 0
}
