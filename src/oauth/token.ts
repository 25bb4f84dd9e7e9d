/**
 * The token endpoint (RFC 6749 section 3.2): what its form may hold, and what it answers. Unknown parameters are ignored and empty ones
 * are as if left out, as the standard says; a parameter that is there twice is refused.
 */
import { z } from '@hono/zod-openapi'
import { type Client, Tokens } from '../auth/auth.ts'
import { PasswordForm } from '../auth/login.ts'
import type { Realm } from '../kernel/context.ts'

const { username, password, device_token } = PasswordForm.shape
const Empty = z.literal('')
const Visible = (max: number) =>
  z
    .string()
    .max(max)
    .regex(/^[ -~]*$/, 'must be visible ASCII characters')
/** A parameter that nobody knows: once, and not a file. Names that end in `[]` are read as lists. */
const Unknown = z.union([z.string(), z.array(z.string()).max(1)])

export const Introspected = z
  .object({
    token: z.string().min(1).max(16_384),
    token_type_hint: z.string().max(255).optional(),
    client_id: Visible(255).optional(),
    client_secret: z.string().optional(),
    client_assertion: z.string().optional(),
  })
  .catchall(Unknown)
  .openapi('TokenOfOAuth', { additionalProperties: true })

export const TokenForm = z
  .object({
    grant_type: z.string().min(1).max(255).openapi({ description: '`refresh_token`, or `password` where the settings offer it' }),
    refresh_token: z.string().max(512).optional(),
    username: z.union([Empty, username]).optional(),
    password: z.union([Empty, password]).optional(),
    client_id: Visible(255).optional().openapi({ description: 'Missing: `freehold`' }),
    client_secret: z.string().optional(),
    client_assertion: z.string().optional(),
    scope: Visible(4096).optional().openapi({ description: 'Narrows nothing: the answer says which scope the token has' }),
    resource: z
      .union([Visible(255), z.array(Visible(255))])
      .optional()
      // Given twice it is refused: a document that said so would make a list of it in generated clients.
      .openapi({
        type: 'string',
        description: 'The identifier of the API that the access token is for (RFC 8707). Missing: the tenant itself.',
      }),
    device_token,
  })
  .catchall(Unknown)
  .openapi('TokenForm', { additionalProperties: true })

export const TokenAnswer = Tokens.extend({
  scope: z
    .string()
    .optional()
    .openapi({ description: 'The permissions in the access token; empty if a scope was asked for and it has none' }),
}).openapi('TokenAnswer')

/** The API that a token is asked for; null: the realm itself; undefined: more than one is named. */
export function audienceOf({ url }: Realm, resource: string | string[] | undefined): Client['audience'] | undefined {
  const [named, ...more] = [resource ?? []].flat().filter(Boolean)
  if (more.length) return undefined
  return named === undefined || named.replace(/\/$/, '') === url ? null : named
}
