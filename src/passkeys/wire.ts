/** The wire of passkeys: what WebAuthn calls JSON of credentials and options (Web Authentication Level 3, sections 5.1.8 to 5.1.10). */
import { z } from '@hono/zod-openapi'
import { Line } from '../kernel/fields.ts'

/** Bytes in base64url, without padding. */
const Bytes = (max: number) =>
  z
    .string()
    .max(max)
    // In groups of four; what is left over has its unused bits zero.
    .regex(
      /^([A-Za-z0-9_-]{4})*([A-Za-z0-9_-]{4}|[A-Za-z0-9_-][AQgw]|[A-Za-z0-9_-]{2}[AEIMQUYcgkosw048])$/,
      'must be base64url without padding',
    )
    .openapi({ example: 'dGVzdA' })

const AnyCredential = z.object({
  id: Bytes(1400),
  rawId: Bytes(1400),
  type: z.literal('public-key'),
  authenticatorAttachment: z.string().max(64).nullish(),
})

/** What `navigator.credentials.create()` gave, as `toJSON()`. Members that browsers add are ignored. */
export const NewCredential = AnyCredential.extend({
  response: z.object({
    clientDataJSON: Bytes(4096),
    attestationObject: Bytes(8192),
    transports: z.array(z.string().max(32)).max(16).optional(),
  }),
}).openapi('NewPasskeyCredential')

/** What `navigator.credentials.get()` gave, as `toJSON()`. */
export const Assertion = AnyCredential.extend({
  response: z.object({
    clientDataJSON: Bytes(4096),
    authenticatorData: Bytes(4096),
    signature: Bytes(2048),
    userHandle: Bytes(128).nullish(),
  }),
}).openapi('PasskeyAssertion')

export const Passkey = z
  .object({
    id: z.uuid(),
    name: z.string(),
    rp_id: z.string().openapi({ description: 'The host for which it was made' }),
    ends_at: z.iso.datetime().nullable().openapi({
      description: 'Until when it works: 30 days after its host became a former one of the tenant; null: it has no end',
    }),
    aaguid: z.uuid().openapi({ description: 'The model of the authenticator; all zeros if it does not say' }),
    transports: z.array(z.string()),
    is_synced: z.boolean().openapi({ description: 'Whether it can be on several devices' }),
    created_at: z.iso.datetime(),
    last_used_at: z.iso.datetime().nullable(),
  })
  .openapi('Passkey')
export const PasskeyList = z.object({ data: z.array(Passkey) }).openapi('PasskeyList')

const Name = Line(100)
export const Registration = z.object({ name: Name.optional(), credential: NewCredential })
export const Renaming = z.object({ name: Name })

const Descriptor = z.object({ type: z.literal('public-key'), id: z.string(), transports: z.array(z.string()).optional() })

export const CreationOptions = z
  .object({
    challenge: z.string(),
    rp: z.object({ id: z.string(), name: z.string() }),
    user: z.object({ id: z.string(), name: z.string(), displayName: z.string() }),
    pubKeyCredParams: z.array(z.object({ type: z.literal('public-key'), alg: z.int() })),
    timeout: z.int(),
    excludeCredentials: z.array(Descriptor),
    authenticatorSelection: z.object({
      residentKey: z.literal('required'),
      requireResidentKey: z.literal(true),
      userVerification: z.literal('required'),
    }),
    attestation: z.literal('none'),
  })
  .openapi('PasskeyCreationOptions')

/** Whose passkeys to ask for, where it is not this host's. */
export const OptionsWanted = z.object({ rp_id: z.string().min(1).max(253).optional() })

/** Who may use the passkeys of a host (Web Authentication Level 3, section 5.11.1). */
export const RelatedOrigins = z.object({ origins: z.array(z.url()) }).openapi('RelatedOrigins')

export const RequestOptions = z
  .object({
    challenge: z.string(),
    rpId: z.string(),
    former_rp_ids: z.array(z.string()).openapi({
      description: 'Former hosts of the tenant whose passkeys still work: ask for options once more, with one of them as rp_id',
    }),
    timeout: z.int(),
    userVerification: z.literal('required'),
    allowCredentials: z.array(Descriptor).openapi({ description: 'Empty: the browser offers what it has for this host' }),
  })
  .openapi('PasskeyRequestOptions')
