/**
 * Which keys the Worker has. Threat: a key is taken away, or put to use, that the Worker does not have: what is under it nobody reads. So
 * whoever rotates keys asks the Worker itself. It tells ids, which every ciphertext begins with, and never a key.
 */
import { z } from '@hono/zod-openapi'
import type { Ctx } from '../../kernel/context.ts'

export const KeyIds = z
  .object({
    encryption_keys: z
      .array(z.string())
      .openapi({ description: 'The ids of the keys of ENCRYPTION_KEYS: the first encrypts, all decrypt' }),
    owner_keys: z.array(z.string()).openapi({ description: 'The same of OWNER_KEYS, which encrypt the owner logins of tenants' }),
  })
  .openapi('KeyIds')

/** The ids of the keys that the Worker has which answers: while it is deployed, others may have other ones. One round trip; `setting:update`. */
export async function getKeyIds(ctx: Ctx): Promise<z.infer<typeof KeyIds>> {
  await ctx.run()
  const { ENCRYPTION_KEYS, OWNER_KEYS } = ctx.config
  return { encryption_keys: ENCRYPTION_KEYS.map(({ id }) => id), owner_keys: OWNER_KEYS.map(({ id }) => id) }
}
