/** The schemas of API keys. */
import { z } from '@hono/zod-openapi'
import { type Page, pageOf } from '../kernel/cursor.ts'
import { Moment } from '../kernel/fields.ts'
import { Name, PermissionName } from '../names/names.ts'

/** Only the form; the database validates the network, because it also matches addresses against it. */
const Network = z
  .string()
  .max(49)
  .regex(/^[0-9a-fA-F]*[.:][0-9a-fA-F.:]*(\/\d{1,3})?$/, 'must be an address or a network, such as 192.0.2.0/24 or 2001:db8::/32')

export const NewApiKey = z
  .object({
    name: Name(100),
    permissions: z
      .array(PermissionName)
      .min(1)
      .max(100)
      .openapi({ description: 'The permissions of the key. You must hold each of them.' }),
    addresses: z
      .array(Network)
      .max(50)
      .optional()
      .openapi({ description: 'Addresses or networks (CIDR) from which the key works. Empty: any.' }),
    expires_at: Moment.nullable()
      .optional()
      .openapi({ description: 'When the key expires. null: never. Absent: after `api_key_days` of the settings' }),
  })
  .openapi('NewApiKey')

export const ApiKeyPatch = NewApiKey.partial().openapi('ApiKeyPatch')

export const Rotation = z
  .object({ overlap_minutes: z.int().min(0).max(10_080).default(60) })
  .openapi('ApiKeyRotation', { description: 'How long the old key keeps working' })

export const ApiKey = z
  .object({
    id: z.uuid(),
    name: z.string(),
    prefix: z.string().openapi({ description: 'The characters between `fh_` and the secret' }),
    permissions: z.array(z.string()),
    addresses: z.array(z.string()),
    rotated_from: z.uuid().nullable(),
    created_at: z.iso.datetime(),
    expires_at: z.iso.datetime().nullable(),
    last_used_at: z.iso.datetime().nullable(),
    use_count: z.int(),
  })
  .openapi('ApiKey')

/** An API key with its secret, which is returned only once; a repeated request gets it for 10 minutes. */
export const MadeApiKey = ApiKey.extend({
  key: z.string().optional().openapi({
    example: 'fh_7Gq2mZ8rT4',
    description: 'Only absent when a request is repeated with its Idempotency-Key after more than 10 minutes',
  }),
}).openapi('MadeApiKey')
export const ApiKeyList = pageOf(ApiKey).openapi('ApiKeyList')

export type NewApiKey = z.infer<typeof NewApiKey>
export type ApiKeyPatch = z.infer<typeof ApiKeyPatch>
export type Rotation = z.infer<typeof Rotation>
export type ApiKey = z.infer<typeof ApiKey>
export type MadeApiKey = z.infer<typeof MadeApiKey>
export type ApiKeyList = z.infer<typeof ApiKeyList>
export type Query = z.infer<typeof Page>
