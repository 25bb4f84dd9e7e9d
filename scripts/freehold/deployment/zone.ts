/** The steps at the zone: that it is there, its certificates, the two DNS records, and the settings that suit a website and no API. */
import { z } from 'zod'
import { Failure } from '../failure.ts'
import { type Cloudflare, CloudflareError, NotAllowed, OPTIONAL, PERMISSIONS, type Permission, Zone } from './cloudflare.ts'
import { type Context, hostsOf } from './context.ts'
import type { Found, Step } from './steps.ts'

const Anything = z.unknown()
const zoneOf = ({ known }: Context) => known.zone?.id ?? '{zone id}'

/** The zone of a domain: its own, or that of a parent. */
export async function findZone({ ask }: Pick<Cloudflare, 'ask'>, domain: string): Promise<Zone> {
  const labels = domain.split('.')
  const names = labels.slice(0, -1).map((_, i) => labels.slice(i).join('.'))
  for (const name of names) {
    const [zone] = await ask(z.array(Zone), 'zone', 'GET', `/zones?name=${name}`)
    if (zone) return zone
  }
  throw new Failure(
    `No zone for ${domain}: the account of CLOUDFLARE_API_TOKEN has none of ${names.join(', ')}, or the token does not include it (Zone Resources). Add the domain at https://dash.cloudflare.com, or correct its name. Nothing was made.`,
  )
}

/** Finds the zone, and asks at each place where the set-up will work whether the token may. */
export function zoneStep(context: Context): Step {
  const { api, known, wanted } = context
  const look = async (): Promise<Found> => {
    const zone = await findZone(api, wanted.domain)
    if (zone.status !== 'active' || zone.paused)
      throw new Failure(
        `The zone ${zone.name} is ${zone.paused ? 'paused' : zone.status}: Cloudflare does not answer for it yet. Set the name servers that the dashboard shows at your registrar, and run this again. Nothing was made.`,
      )
    const { tenant_domain } = wanted
    if (tenant_domain !== zone.name && !tenant_domain.endsWith(`.${zone.name}`))
      throw new Failure(
        `--tenant-domain: ${tenant_domain} is not in the zone ${zone.name}, in which the platform is. Choose a domain there. Nothing was made.`,
      )
    known.zone = zone
    await requirePermissions(api, zone)
    // A record that is in the way is told before anything is made.
    for (const host of hostsOf(wanted)) await recordStep(context, host).look()
    const whole =
      zone.name === wanted.domain
        ? `; all names under it lead to the Worker, and HSTS binds them to https for two years`
        : zone.name === tenant_domain
          ? `; all names under it lead to the Worker, but those that have a record and a route of their own`
          : ''
    return {
      is: 'done',
      says: `${zone.name} in the account ${zone.account.name ?? zone.account.id}; the token may read all that is needed${whole}`,
    }
  }
  return {
    name: 'zone',
    does: 'Finds the zone of the domain, and what the token may do. Whether it may also write shows when it does.',
    look,
    plan: () => [`GET /zones?name=${wanted.domain}`, ...Object.values(PERMISSIONS).map((permission) => `needs ${permission}`)],
    run: async () => (await look()).says,
  }
}

async function requirePermissions({ ask }: Cloudflare, { id, account }: Zone): Promise<void> {
  const places: [Permission, string][] = [
    ['dns', `/zones/${id}/dns_records?per_page=1`],
    ['settings', `/zones/${id}/settings/min_tls_version`],
    ['certificates', `/zones/${id}/ssl/certificate_packs`],
    ['routes', `/zones/${id}/workers/routes`],
    ['kv', `/accounts/${account.id}/storage/kv/namespaces`],
    ['r2', `/accounts/${account.id}/r2/buckets`],
    ['scripts', `/accounts/${account.id}/workers/scripts`],
  ]
  const missing: string[] = []
  for (const [permission, path] of places)
    await ask(Anything, permission, 'GET', path).catch((error) => {
      if (!(error instanceof NotAllowed)) throw error
      missing.push(`"${PERMISSIONS[permission]}"`)
    })
  if (missing.length)
    throw new Failure(`CLOUDFLARE_API_TOKEN may do too little: add ${missing.join(', ')} to it. Nothing was made.`)
}

const Packs = z.array(z.object({ hosts: z.array(z.string()).optional(), status: z.string() }))

/** Looks whether an active certificate covers the platform and its tenants. */
export function certificateStep(context: Context): Step {
  const { api, known, wanted } = context
  const look = async (): Promise<Found> => {
    const packs = await api.ask(
      Packs,
      'certificates',
      'GET',
      `/zones/${zoneOf(context)}/ssl/certificate_packs?status=all&per_page=50`,
    )
    const needs = hostsOf(wanted)
    const covered = (state: RegExp) => (host: string) =>
      packs.some(
        ({ hosts = [], status }) => state.test(status) && hosts.some((name) => name === host || name === parentWildcard(host)),
      )
    const missing = needs.filter((host) => !covered(/^active$/)(host))
    if (!missing.length) return { is: 'done', says: `cover ${needs.join(' and ')}` }
    if (missing.every(covered(/^(pending|initializing)/)))
      return { is: 'yours', says: `for ${missing.join(' and ')} are not active yet: wait a few minutes, and run this again` }
    return {
      is: 'yours',
      says: `none covers ${missing.join(' and ')}: browsers refuse tenants there. Universal SSL covers ${known.zone?.name} and one label below it. Order an advanced certificate for ${needs.join(' and ')} (SSL/TLS > Edge Certificates; Advanced Certificate Manager costs), or use a zone of its own for the platform`,
    }
  }
  return {
    name: 'certificates',
    does: `Looks for a certificate of ${hostsOf(wanted).join(' and ')}. It orders none, because an advanced one costs.`,
    look,
    plan: () => [`GET /zones/${zoneOf(context)}/ssl/certificate_packs`],
    run: async () => (await look()).says,
  }
}

/** `*.example.com` covers id.example.com; nothing but itself covers a wildcard. */
const parentWildcard = (host: string) => (host.startsWith('*.') ? host : host.replace(/^[^.]+/, '*'))

const Records = z.array(
  z.object({ name: z.string(), type: z.string(), content: z.string().optional(), proxied: z.boolean().optional() }),
)

/** One of the two DNS records: proxied, to an address that leads nowhere (RFC 6666), because the Worker answers before it is used. */
export function recordStep(context: Context, host: string): Step {
  const { api, wanted } = context
  const record = { type: 'AAAA', name: host, content: '100::', ttl: 1, proxied: true, comment: 'Freehold' }
  const path = () => `/zones/${zoneOf(context)}/dns_records`
  const look = async (): Promise<Found> => {
    const all = await api.ask(Records, 'dns', 'GET', `${path()}?name=${encodeURIComponent(host)}&per_page=100`)
    const addresses = all.filter(({ name, type }) => name === host && ['A', 'AAAA', 'CNAME'].includes(type))
    const [other] = addresses.filter(({ proxied }) => !proxied)
    if (other)
      throw new Failure(
        `${host} is a record of DNS already (${other.type} ${other.content ?? ''}) and not proxied, so that the Worker never sees a request. Remove it or set it to proxied, or choose another domain than ${wanted.domain}.`,
      )
    if (addresses.length) return { is: 'done', says: `${host} is proxied` }
    return { is: 'open', says: `there is no record of ${host}` }
  }
  return {
    name: `dns ${host}`,
    does: 'Points the name at Cloudflare, which hands its requests to the Worker.',
    look,
    plan: () => [`POST ${path()} ${JSON.stringify(record)}`],
    run: async () => {
      await api.ask(Anything, 'dns', 'POST', path(), record)
      return `${host} is proxied`
    },
  }
}

type Setting = { id: string; is_right: (value: unknown) => boolean; value: unknown; does: string }

/** docs/guides/deploy.md has the reasons at length. */
const SETTINGS: Setting[] = [
  {
    id: 'min_tls_version',
    is_right: (value) => ['1.2', '1.3'].includes(String(value)),
    value: '1.2',
    does: 'Refuses TLS 1.0 and 1.1 at the handshake. The Worker refuses them too, but only after a password has been sent.',
  },
  {
    id: 'tls_1_3',
    is_right: (value) => value !== 'off',
    value: 'on',
    does: 'Lets clients use TLS 1.3.',
  },
  {
    id: 'always_use_https',
    is_right: (value) => value === 'off',
    value: 'off',
    does: 'Leaves plain http to the Worker, which refuses calls: a redirect makes a client with a wrong URL send each password in the open, unnoticed.',
  },
  {
    id: 'browser_check',
    is_right: (value) => value === 'off',
    value: 'off',
    does: 'Switches the Browser Integrity Check off, which answers API clients without a usual User-Agent with 403 and error 1010. It is for the whole zone.',
  },
  {
    id: 'security_level',
    is_right: (value) => value !== 'under_attack',
    value: 'medium',
    does: 'Ends "I\'m Under Attack", which answers every API client with a page of JavaScript.',
  },
  {
    id: 'security_header',
    is_right: (value) =>
      !z.object({ strict_transport_security: z.object({ enabled: z.literal(true) }) }).safeParse(value).success,
    value: { strict_transport_security: { enabled: false } },
    does: "Leaves HSTS to the Worker, which sends it for two years, with includeSubDomains: it binds every name under the platform's domain.",
  },
]

const Value = z.object({ value: z.unknown(), editable: z.boolean().optional() })

/** One step for each setting of the zone. */
export const settingSteps = (context: Context): Step[] =>
  SETTINGS.map(({ id, is_right, value, does }) => {
    const path = () => `/zones/${zoneOf(context)}/settings/${id}`
    return {
      name: `zone setting ${id}`,
      does,
      optional: true,
      look: async () => {
        const now = await context.api.ask(Value, 'settings', 'GET', path())
        const is = JSON.stringify(now.value)
        if (is_right(now.value)) return { is: 'done', says: `it is ${is}` }
        return { is: 'open', says: `it is ${is}, and should be ${JSON.stringify(value)}` }
      },
      plan: () => [`PATCH ${path()} ${JSON.stringify({ value })}`],
      run: async () => {
        await context.api.ask(Anything, 'settings', 'PATCH', path(), { value })
        return `it is ${JSON.stringify(value)}`
      },
    }
  })

const Bots = z.looseObject({
  fight_mode: z.boolean().optional(),
  sbfm_definitely_automated: z.string().optional(),
  sbfm_likely_automated: z.string().optional(),
})

/** Checks for bots, which API clients are. */
export function botStep(context: Context): Step {
  const { api } = context
  const path = () => `/zones/${zoneOf(context)}/bot_management`
  let change: Record<string, unknown> = { fight_mode: false }
  return {
    name: 'bot checks',
    does: 'Switches Bot Fight Mode off, which challenges programs, as API clients are. It is for the whole zone.',
    optional: true,
    look: async () => {
      let now: z.infer<typeof Bots>
      try {
        now = await api.ask(Bots, OPTIONAL, 'GET', path())
      } catch (error) {
        if (!(error instanceof CloudflareError) || error.status === 401) throw error
        return {
          is: 'yours',
          says: `not looked at, without "${PERMISSIONS.bots}": see that Bot Fight Mode is off (Security > Settings)`,
        }
      }
      const wrong = Object.entries(now).filter(
        ([name, value]) =>
          (name === 'fight_mode' && value === true) || (/^sbfm_(definitely|likely)_automated$/.test(name) && value !== 'allow'),
      )
      if (!wrong.length) return { is: 'done', says: 'they are off' }
      change = Object.fromEntries(wrong.map(([name]) => [name, name === 'fight_mode' ? false : 'allow']))
      return { is: 'open', says: `they are on: ${wrong.map(([name, value]) => `${name} ${String(value)}`).join(', ')}` }
    },
    plan: () => [`PUT ${path()} ${JSON.stringify(change)}`],
    run: async () => {
      await api.ask(Anything, OPTIONAL, 'PUT', path(), change)
      return 'they are off'
    },
  }
}
