/**
 * The origins, beside a tenant's own, whose pages may call it (http/cors.ts). Threat: a loosely written origin admits pages that
 * nobody meant. So each is a whole origin, exactly as a browser writes it: scheme, host, port; no pattern, no path. And the pages of
 * one tenant must not call another, so no name under the base domain counts but the tenant's own: all others are, or may become,
 * those of other tenants.
 */
import { z } from '@hono/zod-openapi'
import type { Config } from '../../kernel/config.ts'
import { type Issue, Problem } from '../../kernel/problem.ts'

const LOOPBACK = /^(localhost|[a-z0-9-]+\.localhost|127\.0\.0\.1|\[::1\])$/

/** A URL may have `*` in its host; the origin of a page may not. */
const WRITTEN = /^https?:\/\/([a-z0-9.-]+|\[[0-9a-f:]+\])(:\d+)?$/

const Origin = z
  .string()
  .max(255)
  .refine((text) => WRITTEN.test(text) && URL.canParse(text) && new URL(text).origin === text, {
    message: 'must be an origin as browsers write it, such as https://app.example.com: no path, no default port, lower case',
  })

/** Origins, beside a tenant's own, whose pages may call it. */
export const Origins = z
  .array(Origin)
  .max(20)
  .refine((origins) => new Set(origins).size === origins.length, 'must not name an origin twice')
  .openapi({ description: 'Origins, beside the tenant’s own, whose pages may call it, such as https://app.example.com' })

type Named = { origins?: string[] | undefined }

/**
 * Refuses origins without TLS; outside production loopback addresses are allowed. Fails with invalid_request.
 */
export function mustBeSecure({ ENVIRONMENT }: Config, { origins = [] }: Named): void {
  const is_fine = (origin: string) =>
    origin.startsWith('https:') || (ENVIRONMENT !== 'production' && LOOPBACK.test(new URL(origin).hostname))
  refuse(origins.flatMap((origin, i) => (is_fine(origin) ? [] : [{ pointer: at(i), detail: 'must be https' }])))
}

/** The names under the base domain in these origins, whatever scheme and port: `acme` for `https://acme.example.com:8443`. */
export const namesIn = (config: Config, { origins = [] }: Named): string[] =>
  origins.flatMap((origin) => nameUnderBase(config, origin) ?? [])

/** Refuses origins under the base domain that are not the tenant's own. Fails with invalid_request. */
export function mustBeOwn(config: Config, { origins = [] }: Named, subdomain: string): void {
  const is_foreign = (origin: string) => (nameUnderBase(config, origin) ?? subdomain) !== subdomain
  const detail = "lies under the domain of this service, where other names than the tenant's own belong to others"
  refuse(origins.flatMap((origin, i) => (is_foreign(origin) ? [{ pointer: at(i), detail }] : [])))
}

/** As requireOwnHost reads hosts: outside production `localhost` is a base domain, too. */
function nameUnderBase({ ENVIRONMENT, BASE_URL }: Config, origin: string): string | null {
  const host = new URL(origin).hostname.replace(/\.$/, '')
  const bases = ENVIRONMENT === 'local' ? [BASE_URL.hostname, 'localhost'] : [BASE_URL.hostname]
  const base = bases.find((known) => host.endsWith(`.${known}`))
  return base === undefined ? null : host.slice(0, -base.length - 1)
}

const at = (i: number) => `#/config/origins/${i}`

function refuse(errors: Issue[]): void {
  if (errors.length) throw new Problem('invalid_request', undefined, { errors })
}
