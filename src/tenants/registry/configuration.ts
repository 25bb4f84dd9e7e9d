/**
 * The configuration of a tenant, which operators set: what of it Freehold uses, and whatever else they note there. As with `metadata`
 * of Stripe, a change says keys: those that it leaves out stay, and null removes one. Threat: what is noted grows without bound in a row
 * that every list shows. So keys and size are bounded, and the master has the last word on both (constraint tenants_config).
 */
import { z } from '@hono/zod-openapi'
import { invalid } from '../../kernel/problem.ts'
import { OriginPatterns } from '../../names/origins.ts'
import { Origins } from './origins.ts'

const MOST_KEYS = 50
const MOST_BYTES = 16_384

/** With what a change leaves. */
const BOUNDS = `must hold at most ${MOST_KEYS} keys and 16 KiB, with what it holds already`

/** The refusal of what the master does not hold. */
export const tooMuch = () => invalid('config', BOUNDS)

const KEY = /^[A-Za-z][A-Za-z0-9_.-]{0,39}$/

function check(
  config: Record<string, unknown>,
  { addIssue }: { addIssue: (issue: { code: 'custom'; path?: string[]; message: string }) => void },
) {
  const keys = Object.keys(config)
  if (keys.length > MOST_KEYS || new TextEncoder().encode(JSON.stringify(config)).length > MOST_BYTES)
    addIssue({ code: 'custom', message: BOUNDS })
  for (const key of keys)
    if (!KEY.test(key))
      addIssue({
        code: 'custom',
        path: [key],
        message: 'is a key of something else than 1-40 of a-z, A-Z, 0-9, _, . and -, beginning with a letter',
      })
}

const free = { description: 'Any further key may be noted: 50 keys and 16 KiB in all' }

/** A configuration as a new tenant gets it. */
export const TenantConfig = z
  .object({ origins: Origins.optional(), origin_patterns: OriginPatterns.optional() })
  .catchall(z.unknown())
  .superRefine(check)
  .openapi('TenantConfig', free)

/** A change of a configuration. */
export const TenantConfigPatch = z
  .object({ origins: Origins.nullish(), origin_patterns: OriginPatterns.nullish() })
  .catchall(z.unknown())
  .superRefine(check)
  .openapi('TenantConfigPatch', free)
