/**
 * The origins, beside a tenant's own, whose pages may call it (http/cors.ts). Threat: a loosely written origin admits pages that
 * nobody meant. So each is a whole origin, exactly as a browser writes it: scheme, host, port; no pattern, no path.
 */
import { z } from '@hono/zod-openapi'
import type { Config } from '../../kernel/config.ts'
import { Problem } from '../../kernel/problem.ts'

const LOOPBACK = /^(localhost|[a-z0-9-]+\.localhost|127\.0\.0\.1|\[::1\])$/

/** A URL may have `*` in its host; the origin of a page may not. */
const WRITTEN = /^https?:\/\/([a-z0-9.-]+|\[[0-9a-f:]+\])(:\d+)?$/

const Origin = z
  .string()
  .max(255)
  .refine((text) => WRITTEN.test(text) && URL.canParse(text) && new URL(text).origin === text, {
    message: 'must be an origin as browsers write it, such as https://app.example.com: no path, no default port, lower case',
  })

/** The configuration of a tenant, which operators set. */
export const TenantConfig = z
  .strictObject({
    origins: z
      .array(Origin)
      .max(20)
      .refine((origins) => new Set(origins).size === origins.length, 'must not name an origin twice')
      .optional()
      .openapi({ description: 'Origins, beside the tenant’s own, whose pages may call it, such as https://app.example.com' }),
  })
  .openapi('TenantConfig')

export const TenantPatch = z.object({ config: TenantConfig.optional() }).openapi('TenantPatch')

/** Refuses origins without TLS; outside production loopback addresses are allowed. Fails with invalid_request. */
export function mustBeSecure({ ENVIRONMENT }: Config, { origins = [] }: z.infer<typeof TenantConfig>): void {
  const is_fine = (origin: string) =>
    origin.startsWith('https:') || (ENVIRONMENT !== 'production' && LOOPBACK.test(new URL(origin).hostname))
  const errors = origins.flatMap((origin, i) =>
    is_fine(origin) ? [] : [{ pointer: `#/config/origins/${i}`, detail: 'must be https' }],
  )
  if (errors.length) throw new Problem('invalid_request', undefined, { errors })
}
