/**
 * Addresses of providers, which the Worker fetches. Threat: an administrator of one tenant has the Worker ask a host inside of a network,
 * or this machine, and reads from the answer, or from the time that it takes, what is there. So an address is https, of a name in the
 * public DNS, and never a literal of an IP address, in whatever spelling: URL parsers make `0x7f.1` and `2130706433` into one. What a name
 * resolves to the platform looks after (`global_fetch_strictly_public`).
 */
import type { Config } from '../kernel/config.ts'
import { claimedName, isPlatformHost } from '../names/hosts.ts'

type Settings = Pick<Config, 'ENVIRONMENT' | 'BASE_URL' | 'TENANT_URL'>

/** Names that the public DNS does not have (RFC 6761, RFC 6762, RFC 8375, RFC 7686), and what networks inside are commonly called. */
const INSIDE = /(^|\.)(localhost|local|localdomain|internal|intranet|private|corp|home|lan|arpa|onion|svc|cluster|consul)$/
const LOOPBACK = /^(([a-z0-9-]+\.)*localhost|127\.\d+\.\d+\.\d+|\[::1\])$/
const NAME = /^([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]*$/

/** A local start may have a provider on this machine; its parts are those of any other. */
export const isLocalProvider = ({ ENVIRONMENT }: Pick<Config, 'ENVIRONMENT'>, text: string) =>
  ENVIRONMENT === 'local' && URL.canParse(text) && LOOPBACK.test(new URL(text).hostname)

/** Why an address is none that the Worker fetches, in words for the caller; null: it is one. */
export function faultOfUrl(settings: Settings, text: string): string | null {
  const url = URL.parse(text)
  if (!url || !/^https?:$/.test(url.protocol) || !/^https?:\/\/[^/\\]/i.test(text)) return 'must be an https:// address'
  // Parsers pass over a line break and read a backslash as a slash; who compares texts, as with `iss`, does not.
  if (/[\s\\\p{C}]/u.test(text)) return 'must have no blanks, line breaks and backslashes'
  if (url.username || url.password) return 'must hold no user name and no password'
  if (text.includes('#')) return 'must have no fragment'
  if (isLocalProvider(settings, text)) return null
  if (url.protocol !== 'https:') return 'must begin with https://'
  // `localhost.` is localhost.
  const host = url.hostname.replace(/\.$/, '')
  if (!NAME.test(host) || INSIDE.test(host)) return 'must be at a host of the public internet, by its name'
  if (isPlatformHost(settings, host) || claimedName(settings, host) !== null) return 'is an address of this service'
  return null
}

export const TYPES = ['oidc', 'google', 'entra', 'cognito', 'firebase'] as const
export type ProviderType = (typeof TYPES)[number]

const GUID = '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}'
/** The issuers of each type that has its own rules; of `oidc` any. */
const ISSUERS: Record<Exclude<ProviderType, 'oidc'>, [pattern: RegExp, fault: string]> = {
  google: [/^https:\/\/accounts\.google\.com$/, 'must be https://accounts.google.com'],
  entra: [
    new RegExp(
      `^https://(login\\.microsoftonline\\.(com|us)|login\\.partner\\.microsoftonline\\.cn|[a-z0-9-]+\\.ciamlogin\\.com)/(${GUID}|common|organizations|consumers)/v2\\.0$`,
    ),
    'must be https://login.microsoftonline.com/, the id of the directory, and /v2.0',
  ],
  cognito: [
    /^https:\/\/cognito-idp\.[a-z0-9-]+\.amazonaws\.com(\.cn)?\/[a-z0-9-]+_[A-Za-z0-9]+$/,
    'must be https://cognito-idp, the region, .amazonaws.com/, and the id of the user pool',
  ],
  firebase: [
    /^https:\/\/securetoken\.google\.com\/[a-z0-9-]+$/,
    'must be https://securetoken.google.com/ and the id of the project',
  ],
}

/** Why this is no issuer of a type; null: it is one. */
export function faultOfIssuer(settings: Settings, type: ProviderType, issuer: string): string | null {
  const fault = faultOfUrl(settings, issuer)
  if (fault) return fault
  // Also an empty one, which URL does not show (OpenID Connect Core 1.0, section 2).
  if (issuer.includes('?')) return 'must have no query'
  if (type === 'oidc' || isLocalProvider(settings, issuer)) return null
  const [pattern, said] = ISSUERS[type]
  return pattern.test(issuer) ? null : said
}
