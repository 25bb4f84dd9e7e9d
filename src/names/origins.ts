/**
 * Origins of pages (scheme, host, port) that a tenant's administrator lets call from a browser. Threat: a loosely written one admits pages
 * that nobody meant; one without TLS is whoever's the network is; one among the hosts of tenants is another tenant's, or will be. So each
 * is a whole origin, and none counts that lies on another tenant's host, or outside of what the operators allow.
 */
import { z } from '@hono/zod-openapi'
import type { Config } from '../kernel/config.ts'
import type { Realm } from '../kernel/context.ts'
import type { Issue } from '../kernel/problem.ts'
import { claimedName } from './hosts.ts'

const HOST = '(?:[a-z0-9.-]+|\\[[0-9a-f:.]+\\])'
const WRITTEN = new RegExp(`^https?://${HOST}(:\\d+)?$`, 'i')
const LOCAL = /^(([a-z0-9-]+\.)*localhost|127\.0\.0\.1|\[::1\])$/

/** True for an origin on the machine of whoever looks at the page, to which no network leads. */
export const isLocal = (origin: string) => LOCAL.test(new URL(origin).hostname)

/** An origin as a browser writes it: in lower case, without the default port. Null for what is none. */
export const originIn = (text: string): string | null => (WRITTEN.test(text) && URL.canParse(text) ? new URL(text).origin : null)

/** An origin in the settings, written as browsers write it. */
const PageOrigin = z
  .string()
  .max(255, { abort: true })
  .overwrite((text) => originIn(text) ?? text)
  .superRefine((text, check) => {
    const origin = originIn(text)
    if (origin === null)
      check.addIssue({ code: 'custom', message: 'must be an origin such as https://app.example.com, without a path' })
    else if (!origin.startsWith('https:') && !isLocal(origin))
      check.addIssue({ code: 'custom', message: 'must be https, or of localhost' })
  })

/** The origins in the settings of a tenant. */
export const PageOrigins = z
  .array(PageOrigin)
  .max(50)
  .superRefine((origins, check) => {
    for (const [i, origin] of origins.entries())
      if (origins.indexOf(origin) < i) check.addIssue({ code: 'custom', path: [i], message: 'is there twice' })
  })

const PATTERN = new RegExp(`^https?://(\\*\\.)?${HOST}(:(\\d+|\\*))?$`)

/** What of origins operators allow: an origin, whose host may begin with `*.` and whose port may be `*`. */
export const OriginPatterns = z
  .array(
    z
      .string()
      .max(255)
      .refine((text) => PATTERN.test(text) && isPlain(text), {
        message: 'must be an origin, in which * may stand for the labels before a domain and for a port: https://*.example.com',
      }),
  )
  .max(20)
  .openapi({
    description:
      'Within which an administrator of the tenant may choose `origins` in the settings, such as https://*.example.com. Without it: any',
  })

/** What is not `*` is written as browsers write it. */
function isPlain(pattern: string): boolean {
  const origin = pattern.replace('://*.', '://').replace(/:\*$/, '')
  return URL.canParse(origin) && new URL(origin).origin === origin
}

/** The patterns in a tenant's configuration, where anything may have been noted before they meant something; null: none. */
export const patternsIn = (noted: unknown): string[] | null =>
  Array.isArray(noted) ? noted.filter((one) => typeof one === 'string' && PATTERN.test(one)) : null

/** True when one of the patterns has this origin. `*.` stands for one label or more, a `*` for any port. */
const isWithin = (patterns: string[], origin: string) =>
  patterns.some((pattern) => {
    const plain = pattern.replace(/[.[\]]/g, '\\$&')
    return new RegExp(`^${plain.replace('*\\.', '(?:[a-z0-9-]+\\.)+').replace(/:\*$/, '(?::\\d+)?')}$`).test(origin)
  })

/** True unless an origin is on the host of another tenant, or of one that may be made. `subdomain` null: the platform. */
export function isOwn(config: Config, subdomain: string | null, origin: string): boolean {
  return (claimedName(config, new URL(origin).hostname) ?? subdomain) === subdomain
}

export const NOT_OWN = "lies under the domain of this service, where other names than the tenant's own belong to others"

type Chooser = Pick<Realm, 'subdomain' | 'origin_patterns'>

/** Why an origin in the settings of a realm does not count; null: it counts. */
export function originFault(config: Config, { subdomain, origin_patterns }: Chooser, origin: string): string | null {
  if (!isOwn(config, subdomain, origin)) return NOT_OWN
  if (origin_patterns === null || isWithin(origin_patterns, origin)) return null
  const allowed = origin_patterns.join(', ') || 'none'
  return `is outside of what the operators of this service allow: ${allowed}`
}

/** What is wrong with the origins of a request to change the settings. */
export const originFaults = (config: Config, realm: Chooser, origins: string[]): Issue[] =>
  origins.flatMap((origin, i) => {
    const detail = originFault(config, realm, origin)
    return detail === null ? [] : [{ pointer: `#/origins/${i}`, detail }]
  })
