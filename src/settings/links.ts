/**
 * Addresses of a tenant's own frontend, which mails and pages lead to in place of ours. Threat: an address that runs a script, shows
 * itself as another one, or sends the token of a mail in the clear. So it is https, written in the characters of RFC 3986, and
 * without credentials; it has no fragment, because the token is put there. What is stored is looked at again where it is used: a
 * tenant that was a demo has http on localhost, which is not led to when it is one no more. Who may set links: settings.sql.
 */
import { z } from '@hono/zod-openapi'
import type { Realm } from '../kernel/context.ts'

const NAMES = ['verify_email', 'reset_password', 'email_change', 'login', 'email_login', 'invitation'] as const
export type LinkName = (typeof NAMES)[number]
/** The links that are set. */
export type Links = Partial<Record<LinkName, string>>

const WRITTEN = /^[A-Za-z0-9._~:/?[\]@!$&'()*+,;=%-]*$/
const LOCAL = /^(localhost|[a-z0-9.-]+\.localhost)$/

/** Why an address is none that a tenant can lead to, in words for the caller; null: it is one. `is_demo` allows http on localhost. */
export function faultOf(link: string, is_demo: boolean): string | null {
  if (link.includes('#')) return 'must have no fragment: the token is put there'
  const url = WRITTEN.test(link) ? URL.parse(link) : null
  if (!url || !/^https?:\/\/[^/]/i.test(link)) return 'must be an address such as https://app.example.com/verify'
  if (url.username || url.password) return 'must hold no user name and no password'
  if (url.protocol === 'https:') return null
  if (!LOCAL.test(url.hostname)) return 'must begin with https://'
  return is_demo ? null : 'must begin with https://: http on localhost is for demo tenants'
}

const Link = z
  .string()
  .max(500)
  .superRefine((link, check) => {
    // Whether the tenant is a demo is not known here: setLinks asks again.
    const fault = faultOf(link, true)
    if (fault) check.addIssue({ code: 'custom', message: fault })
  })
  .nullable()

const DESCRIPTION =
  'Addresses of a frontend of your own, to which mails lead in place of the pages of this service. The token is put into the fragment, as `#token=...`. null: the page of this service.'
const each = <T>(of: T) => Object.fromEntries(NAMES.map((name) => [name, of])) as Record<LinkName, T>

export const LinkSettings = z.object(each(Link)).openapi({ description: DESCRIPTION })
/** A merge patch, as all of the settings: null takes a link away, or all of them. */
export const LinkPatch = z.strictObject(each(Link.optional())).nullable().openapi({ description: DESCRIPTION })

/** Where a link leads: to the tenant's own frontend, or to a page on its host. */
export const linkTo = (realm: Pick<Realm, 'url' | 'is_demo'>, links: Links, name: LinkName, page: string): string => {
  const own = links[name]
  return own !== undefined && faultOf(own, realm.is_demo) === null ? own : `${realm.url}${page}`
}

/** All links of the settings, in SQL, null where one is not set. */
export const LINKS_SHOWN = `jsonb_build_object(${NAMES.map((name) => `'${name}', links -> '${name}'`).join(', ')}) as links`
