/**
 * The origins, beside a tenant's own, whose pages may call it (http/cors.ts). Threat: a loosely written origin admits pages that
 * nobody meant. So each is a whole origin, exactly as a browser writes it: scheme, host, port; no pattern, no path. And the pages of
 * one tenant must not call another, so no name among those of tenants counts but the tenant's own: all others are, or may become,
 * those of other tenants. Those that an administrator chooses are in the settings (src/names/origins.ts).
 */
import { z } from '@hono/zod-openapi'
import type { Config } from '../../kernel/config.ts'
import { type Issue, Problem } from '../../kernel/problem.ts'
import { claimedName } from '../../names/hosts.ts'
import { isLocal, isOwn, NOT_OWN } from '../../names/origins.ts'

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
  const is_fine = (origin: string) => origin.startsWith('https:') || (ENVIRONMENT !== 'production' && isLocal(origin))
  refuse(origins.flatMap((origin, i) => (is_fine(origin) ? [] : [{ pointer: at(i), detail: 'must be https' }])))
}

/** The names of tenants in these origins, whatever scheme and port: `acme` for `https://acme.example.com:8443`. */
export const namesIn = (config: Config, { origins = [] }: Named): string[] =>
  origins.flatMap((origin) => claimedName(config, new URL(origin).hostname) ?? [])

/** Refuses origins on the hosts of other tenants. Fails with invalid_request. */
export function mustBeOwn(config: Config, { origins = [] }: Named, subdomain: string): void {
  refuse(origins.flatMap((origin, i) => (isOwn(config, subdomain, origin) ? [] : [{ pointer: at(i), detail: NOT_OWN }])))
}

const at = (i: number) => `#/config/origins/${i}`

function refuse(errors: Issue[]): void {
  if (errors.length) throw new Problem('invalid_request', undefined, { errors })
}
