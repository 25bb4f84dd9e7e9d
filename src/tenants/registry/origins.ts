/**
 * The origins whose pages may call a tenant beside its own (http/cors.ts). Threat: an origin that is written loosely lets in who was not
 * meant. So each is a whole origin, exactly as a browser writes it: scheme, host, port; no pattern, no path.
 */
import { z } from '@hono/zod-openapi'
import type { Config } from '../../kernel/config.ts'
import { Problem } from '../../kernel/problem.ts'

const LOOPBACK = /^(localhost|[a-z0-9-]+\.localhost|127\.0\.0\.1|\[::1\])$/

/** A URL may have a star in its host, an origin of a page not. */
const WRITTEN = /^https?:\/\/([a-z0-9.-]+|\[[0-9a-f:]+\])(:\d+)?$/

const Origin = z
  .string()
  .max(255)
  .refine((text) => WRITTEN.test(text) && URL.canParse(text) && new URL(text).origin === text, {
    message: 'must be an origin as browsers write it, such as https://app.example.com: no path, no default port, lower case',
  })

/** What operators decide of a tenant beyond its plan. */
export const TenantConfig = z
  .strictObject({
    origins: z
      .array(Origin)
      .max(20)
      .refine((origins) => new Set(origins).size === origins.length, 'must not name an origin twice')
      .optional()
      .openapi({ description: 'Origins beside its own whose pages may call this tenant, such as https://app.example.com' }),
  })
  .openapi('TenantConfig')

export const TenantPatch = z.object({ config: TenantConfig.optional() }).openapi('TenantPatch')

/** Refuses origins that nobody vouches for: without TLS, but those of this machine outside production. */
export function mustBeSecure({ ENVIRONMENT }: Config, { origins = [] }: z.infer<typeof TenantConfig>): void {
  const is_fine = (origin: string) =>
    origin.startsWith('https:') || (ENVIRONMENT !== 'production' && LOOPBACK.test(new URL(origin).hostname))
  const errors = origins.flatMap((origin, i) =>
    is_fine(origin) ? [] : [{ pointer: `#/config/origins/${i}`, detail: 'must be https' }],
  )
  if (errors.length) throw new Problem('invalid_request', undefined, { errors })
}
