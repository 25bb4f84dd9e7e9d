import { decodeBase64urlIgnorePadding } from '@oslojs/encoding'
import { z } from 'zod'
import type { EmailBinding } from './email-binding.ts'

/** A subdomain: a DNS label in lower case (RFC 1035, RFC 1123). */
export const Label = z
  .string()
  .max(63)
  .regex(/^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/, 'must be a DNS label in lower case: a-z, 0-9 and hyphens, no hyphen at either end')

/** `id:key[,id:key ...]`, each key 32 bytes in base64url. The first encrypts, all decrypt. */
const KeyRing = z.string().transform((text, issue) => {
  const ring = text.split(',').map((part) => {
    const [, id, key] = /^([a-z0-9]{1,16}):([A-Za-z0-9_-]{43})$/.exec(part.trim()) ?? []
    return id && key ? { id, key: new Uint8Array(decodeBase64urlIgnorePadding(key)) } : null
  })
  const ids = ring.map((entry) => entry?.id)
  if (ring.every((entry) => entry !== null) && new Set(ids).size === ids.length) return ring
  issue.addIssue({ code: 'custom', message: 'must be id:key[,id:key ...] with different ids and keys of 32 bytes in base64url' })
  return z.NEVER
})

const BaseUrl = z
  .url({ protocol: /^https?$/, message: 'must be an http(s) URL' })
  .refine((url) => /^https?:\/\/[^/?#@]+\/?$/.test(url), 'must be an origin: no path, no query, no credentials')
  .transform((url) => new URL(url))

/** `https://{subdomain}.example.com`, as the origin below which tenants are: https://example.com. */
const TenantUrl = z
  .string()
  .regex(/^https?:\/\/\{subdomain\}\.[^{}]+$/, { message: 'must begin with https://{subdomain}. and a domain', abort: true })
  .transform((url) => url.replace('{subdomain}.', ''))
  .pipe(BaseUrl)

const PostgresUrl = z.string().refine((text) => {
  const url = URL.canParse(text) ? new URL(text) : null
  return url && /^postgres(ql)?:$/.test(url.protocol) && url.username && url.password && url.hostname && url.pathname.length > 1
}, 'must be a Postgres URL with user, password, host and database (postgresql://user:password@host/database)')

const DatabaseTemplate = z
  .string()
  .refine((text) => text.split('{subdomain}').length === 2, 'must contain {subdomain} exactly once')
  .refine(
    (text) => /^[a-z][a-z0-9_]*$/.test(text.replace('{subdomain}', 'a')),
    'may hold only a-z, 0-9 and _ beside {subdomain}, and starts with a letter',
  )
  .refine((text) => text.replace('{subdomain}', '').length >= 3, 'must hold at least 3 characters beside {subdomain}')
  .refine((text) => text.length <= 51, 'must leave at least 23 of the 63 bytes of a Postgres name to {subdomain}')

/** `neon.tech[,example.com ...]`: names of domains, with a dot in each and no number at the end, which would be an address. */
const Domains = z
  .string()
  .regex(/^([a-z0-9-]+\.)+[a-z][a-z0-9-]*(,([a-z0-9-]+\.)+[a-z][a-z0-9-]*)*$/, 'must be domain[,domain ...] in lower case')
  .transform((text) => text.split(','))

export type SmtpServer = {
  host: string
  port: number
  secure: boolean
  credentials: { username: string; password: string } | null
}

/**
 * smtp://user:password@host:587 (with STARTTLS if the server offers it, which a password requires) or
 * smtps://user:password@host:465.
 */
const SmtpUrl = z.string().transform((text, issue): SmtpServer => {
  const url = URL.canParse(text) ? new URL(text) : null
  const isOurs = url && /^smtps?:$/.test(url.protocol) && url.hostname && /^\/?$/.test(url.pathname) && !url.search && !url.hash
  try {
    if (isOurs && !url.username === !url.password) {
      const secure = url.protocol === 'smtps:'
      const credentials = { username: decodeURIComponent(url.username), password: decodeURIComponent(url.password) }
      const host = url.hostname.replace(/^\[|\]$/g, '')
      return { host, port: Number(url.port) || (secure ? 465 : 587), secure, credentials: url.username ? credentials : null }
    }
  } catch {
    // Malformed percent-encoding: refused below.
  }
  issue.addIssue({
    code: 'custom',
    message: 'must be smtp://user:password@host:587 or smtps://user:password@host:465, user and password percent-encoded',
  })
  return z.NEVER
})

/** `no-reply@example.com` or `Example <no-reply@example.com>`. */
const Sender = z.string().transform((text, issue) => {
  const [, name, address] = /^(?:([^<>"\p{Cc}]*)<)?([^\s<>"\p{Cc}]+@[A-Za-z0-9.-]+)>?$/u.exec(text.trim()) ?? []
  if (address && text.includes('<') === text.trim().endsWith('>')) return { name: name?.trim() || null, address }
  issue.addIssue({
    code: 'custom',
    message: 'must be an address (no-reply@example.com) or a name and an address (Example <no-reply@example.com>)',
  })
  return z.NEVER
})

/** OWASP's minimum for PBKDF2-HMAC-SHA-256. Production accepts no less. */
const LEAST_ITERATIONS = 600_000

/**
 * Tenants on a host: Neon allows 500 roles in a branch. Each tenant has two; left are 20, for ours, Neon's own, and the third login
 * that a rotation makes, of which at most 10 may be there at once.
 */
export const MOST_TENANTS = 240

/** URLs to which secrets are sent, or at which they arrive. */
const HTTPS = ['BASE_URL', 'TENANT_URL', 'NEON_API_URL', 'NEON_SQL_URL', 'SMS_WEBHOOK_URL'] as const
const HOSTS = ['BASE_URL', 'TENANT_URL'] as const
/** Names that nobody can own (RFC 2606, RFC 6761): wrangler.toml was deployed as it is in the repository. */
export const PLACEHOLDER = /(^|\.)(example\.(com|net|org)|example|invalid|test|localhost)\.?$/
const UNCHANGED = 'is a placeholder, at which nobody can reach the Worker: set the https:// address of your domain'
const PLAIN = 'must begin with https:// in production, because over http the network reads passwords, tokens and keys'
const GUESSABLE = 'has a key of 32 equal bytes, which anybody guesses: make keys with `npm run freehold -- keys new`'
const ELSEWHERE = 'must have the scheme and the port of BASE_URL, at which the Worker answers'
const NO_READER = 'must name another login than MASTER_DATABASE_URL, one that only reads: see freehold keys reader'
const SHARED = 'must not hold a key of ENCRYPTION_KEYS, which would open the owner logins of tenants'
const RINGS = ['ENCRYPTION_KEYS', 'OWNER_KEYS'] as const
const isGuessable = ({ key }: { key: Uint8Array }) => key.every((byte) => byte === key[0])
const MAILBOX = 'is for a local start only: anyone who can reach it can read all mail, so set SMTP_URL instead'
const CHEAP = `must be at least ${LEAST_ITERATIONS} in production, because less makes stolen hashes cheap to guess: raise it, or remove it`

const ComputeUnits = z.coerce.number().min(0.25).max(56).multipleOf(0.25)

/** Every setting, with its default. The keys are the names of the environment variables. */
export const EnvironmentSettings = z
  .object({
    ENVIRONMENT: z.enum(['local', 'production']).default('production'),
    BASE_URL: BaseUrl,
    /** Where tenants are. Default: `{subdomain}.` in front of BASE_URL's host (src/names/hosts.ts). */
    TENANT_URL: TenantUrl.optional(),
    MASTER_DATABASE_URL: PostgresUrl,
    /** A login of the same database that only reads the registry: for what anybody's request causes. */
    MASTER_READER_URL: PostgresUrl,
    ENCRYPTION_KEYS: KeyRing,
    /** Encrypts the owner logins of tenants and hosts, and nothing else. */
    OWNER_KEYS: KeyRing,
    NEON_API_KEY: z.string().min(1),
    NEON_API_URL: z.url().default('https://console.neon.tech/api/v2'),
    NEON_SQL_URL: z.url().optional(),
    NEON_REGION: z.string().default('aws-us-east-1'),
    NEON_ORG_ID: z.string().optional(),
    /** Further accounts and organizations, for hosts that the first has no room for. */
    NEON_ACCOUNTS: z.string().optional(),
    NEON_CALLS_PER_MINUTE: z.coerce.number().int().min(1).max(1_000_000).default(700),
    /** A Durable Object. Without it, as in programs, each process counts its own calls. */
    NEON_TURNS: z.custom<object>((binding) => typeof binding === 'object' && binding !== null).optional(),
    NEON_POLL_MS: z.coerce.number().int().min(1).max(60_000).default(500),
    HOST_BRANCHES: z.coerce.number().int().min(1).max(5000).default(8),
    /** Of Neon's compute units, which a host's compute has: its connections are as many (97 at 0.25). */
    HOST_COMPUTE_CU: ComputeUnits.default(1),
    HOST_CAPACITY: z.coerce.number().int().min(1).max(MOST_TENANTS).default(200),
    /** Tenants of a host that are awake at once, before the next tenant is placed elsewhere (`npm run bench -- --only turns`). */
    HOST_AWAKE: z.coerce.number().int().min(1).max(MOST_TENANTS).default(40),
    NEON_PG_VERSION: z.coerce.number().int().min(16).max(18).default(17),
    LICENSE_GRACE_DAYS: z.coerce.number().int().min(0).max(365).default(14),
    DEFAULT_ISOLATION: z.enum(['database', 'branch', 'project']).default('database'),
    /** For tenants of isolation `project`. The window is what the plan of the account allows: 6 hours, 7 days, 30 days. */
    PROJECT_COMPUTE_CU: ComputeUnits.default(0.25),
    PROJECT_RESTORE_HOURS: z.coerce.number().int().min(0).max(720).default(168),
    /** Compute hours a month, at which Neon suspends the tenant's database until the next. */
    PROJECT_QUOTA_HOURS: z.coerce.number().int().min(1).max(100_000).optional(),
    /** Domains below which databases may be that are adopted: their hosts speak Neon's SQL over HTTP. */
    EXTERNAL_HOSTS: Domains.default(['neon.tech']),
    /** Never lowered in production: users with a dearer hash than an unknown identifier's would be known by the time of a login. */
    PASSWORD_HASH_ITERATIONS: z.coerce.number().int().min(1).max(2_000_000).default(LEAST_ITERATIONS),
    TENANT_DB_TEMPLATE: DatabaseTemplate.default('freehold_{subdomain}'),
    DEFAULT_TENANT: Label.optional(),
    /** The header in which a proxy in front that ends TLS says how the client came: https or http. It replaces one that the client sent. */
    FORWARDED_PROTO_HEADER: z
      .string()
      .regex(/^[A-Za-z0-9-]+$/, 'must be the name of a header')
      .optional(),
    /** `manual`: tenants are migrated when an operator says so, and by nothing else. */
    MIGRATIONS: z.enum(['automatic', 'manual']).default('automatic'),
    /** The tenant that is migrated before all others. */
    MIGRATION_CANARY: Label.optional(),
    MIGRATION_CONCURRENCY: z.coerce.number().int().min(1).max(100).default(10),
    SMTP_URL: SmtpUrl.optional(),
    /** A binding, not text: `send_email` in wrangler.toml. That it has `send` shows when it is used. */
    EMAIL: z
      .custom<EmailBinding>((binding) => typeof binding === 'object' && binding !== null, 'must be a send_email binding')
      .optional(),
    MAIL_FROM: Sender.optional(),
    SMS_WEBHOOK_URL: z.url({ protocol: /^https?$/, message: 'must be an http(s) URL' }).optional(),
    SMS_WEBHOOK_TOKEN: z.string().min(1).optional(),
    MAILBOX_URL: z.url({ protocol: /^http$/, message: 'must be the http URL of a local mailbox' }).optional(),
    PWNED_PASSWORDS_URL: z
      .url({ protocol: /^https?$/, message: 'must be an http(s) URL' })
      .default('https://api.pwnedpasswords.com/range/'),
  })
  .superRefine(
    (settings, issue) => {
      const { ENVIRONMENT, MAILBOX_URL, SMTP_URL, EMAIL, MAIL_FROM, SMS_WEBHOOK_URL, SMS_WEBHOOK_TOKEN } = settings
      const { BASE_URL, TENANT_URL, PASSWORD_HASH_ITERATIONS, MASTER_DATABASE_URL, MASTER_READER_URL } = settings
      const refused = new Set(issue.issues.map(({ path }) => path?.[0]))
      const wrong = (name: keyof typeof settings, is_wrong: unknown, message = '') => {
        if (is_wrong && !refused.has(name)) issue.addIssue({ code: 'custom', path: [name], message })
      }
      const loginOf = (url: string) => URL.canParse(url) && new URL(url).username
      wrong(
        'MASTER_READER_URL',
        !refused.has('MASTER_DATABASE_URL') && loginOf(MASTER_READER_URL) === loginOf(MASTER_DATABASE_URL),
        NO_READER,
      )
      wrong(
        'OWNER_KEYS',
        !refused.has('ENCRYPTION_KEYS') &&
          !refused.has('OWNER_KEYS') &&
          settings.OWNER_KEYS.some(({ key }) => settings.ENCRYPTION_KEYS.some((other) => key.join() === other.key.join())),
        SHARED,
      )
      const is_elsewhere = ({ protocol, port }: URL) => protocol !== BASE_URL.protocol || port !== BASE_URL.port
      wrong('TENANT_URL', !refused.has('BASE_URL') && TENANT_URL instanceof URL && is_elsewhere(TENANT_URL), ELSEWHERE)
      if (ENVIRONMENT === 'production') {
        for (const name of HTTPS) wrong(name, settings[name] && !/^https:/i.test(String(settings[name]).trim()), PLAIN)
        for (const name of HOSTS) wrong(name, !refused.has(name) && PLACEHOLDER.test(settings[name]?.hostname ?? ''), UNCHANGED)
        for (const name of RINGS) wrong(name, !refused.has(name) && settings[name].some(isGuessable), GUESSABLE)
        wrong('MAILBOX_URL', MAILBOX_URL, MAILBOX)
        wrong('PASSWORD_HASH_ITERATIONS', PASSWORD_HASH_ITERATIONS < LEAST_ITERATIONS, CHEAP)
      }
      if (!refused.size) wrong('MAIL_FROM', (SMTP_URL || EMAIL) && !MAIL_FROM)
      if (!refused.size) wrong('SMS_WEBHOOK_URL', SMS_WEBHOOK_TOKEN && !SMS_WEBHOOK_URL)
    },
    // Also when a setting alone is wrong, so that all that is wrong is named at once.
    { when: () => true },
  )
export type Config = z.infer<typeof EnvironmentSettings>

export class ConfigError extends Error {}

/** Parses the settings. An empty string counts as missing. Fails with a ConfigError that names every setting that is wrong. */
export function parseSettings(env: Record<string, unknown>): Config {
  const given = Object.fromEntries(
    Object.keys(EnvironmentSettings.shape).map((name) => [name, env[name] === '' ? undefined : env[name]]),
  )
  const parsed = EnvironmentSettings.safeParse(given)
  if (parsed.success) return parsed.data
  const issues = new Map(parsed.error.issues.toReversed().map(({ path, message }) => [String(path[0]), message]))
  const sentences = [...issues].reverse().map(([name, wrong]) => `${name} ${given[name] === undefined ? 'is not set' : wrong}`)
  throw new ConfigError(`Wrong settings: ${sentences.join('; ')}.`)
}

let parsed: { env: Record<string, unknown>; config: Config } | undefined

/** The settings of this isolate, parsed once. */
export function configOf(env: Record<string, unknown>): Config {
  if (parsed?.env !== env) parsed = { env, config: parseSettings(env) }
  return parsed.config
}
