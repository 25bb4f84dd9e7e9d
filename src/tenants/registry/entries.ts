/** Compares entries of KV with the master. Threat: an entry that is missing, old, forged or another tenant's, and nobody notices. */
import type { Config } from '../../kernel/config.ts'
import type { Former } from './former.ts'
import type { Entry, SignedEntry } from './registry.ts'
import { isAuthentic } from './signature.ts'

/**
 * `forged`: not an entry, or not signed by this deployment. `stale`: of another version. `other`: of this version, but says something
 * else, as after the master was restored from a backup and gave a version twice.
 */
export type Damage = 'missing' | 'forged' | 'stale' | 'other'

/**
 * What is wrong with the value of a tenant's key in KV; null: nothing. A field that an earlier release did not write may be missing.
 */
export async function damageOf(config: Config, text: string | null, known: Entry | Former): Promise<Damage | null> {
  if (text === null) return 'missing'
  let entry: SignedEntry | (Former & { signature: string })
  try {
    entry = JSON.parse(text)
    if (!(await isAuthentic(config, entry))) return 'forged'
  } catch {
    return 'forged'
  }
  if (entry.tenant_id !== known.tenant_id || entry.subdomain !== known.subdomain) return 'other'
  if (entry.v !== known.v) return 'stale'
  // Signed with a key that is to go.
  if (!entry.signature.startsWith(`${config.ENCRYPTION_KEYS[0]?.id}.`)) return 'stale'
  const { signature: _, ...said } = entry
  // Of a release that did not have the field.
  if (Object.keys(known).some((field) => !Object.hasOwn(said, field))) return 'stale'
  const differs = Object.entries(said).some(
    ([field, value]) => JSON.stringify(value) !== JSON.stringify(known[field as keyof typeof known]),
  )
  return differs ? 'other' : null
}
