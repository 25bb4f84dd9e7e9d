/**
 * The settings of providers: where users of the tenant can log in elsewhere. Threat: see urls.ts (what the Worker is made to fetch) and
 * providers.sql (who is believed, and who may say so). The secret of a client is encrypted for its provider, and is in no answer.
 */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import { create } from '../idempotency/idempotency.ts'
import type { Ctx } from '../kernel/context.ts'
import { brokenConstraint } from '../kernel/db.ts'
import { Text } from '../kernel/fields.ts'
import { encrypt } from '../kernel/keyring.ts'
import { invalid, Problem } from '../kernel/problem.ts'
import { matches, rfc3339, rowsOf, unchanged } from '../kernel/wire.ts'
import { Domain } from '../names/addresses.ts'
import { Name } from '../names/names.ts'
import { faultOfIssuer, TYPES } from './urls.ts'

/** In addresses: /login/external/{name}. */
export const ProviderName = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$/, 'must be lower-case letters, digits and hyphens, 32 at most')
  .openapi({ example: 'google' })
const ClaimName = z
  .string()
  .min(1)
  .max(255)
  .regex(/^[!-~]*$/, 'must be the name of a claim')
const Claims = z
  .strictObject({ email: ClaimName, given_name: ClaimName, family_name: ClaimName, roles: ClaimName })
  .partial()
  .openapi({
    description: 'The claims that hold these, where the provider calls them otherwise: {"roles": "groups"}',
    example: { roles: 'groups' },
  })
const RoleMapping = z
  .record(Text(255), z.uuid())
  .refine((mapping) => Object.keys(mapping).length <= 100, 'must have at most 100 values')
  .openapi({
    description:
      'Roles of users that are created, by the values of the claim `roles`: {value: id of a role}. The caller must hold each.',
    example: {},
  })

const Editable = z.object({
  label: Name(70).openapi({ description: 'What the button on the login page says', example: 'Acme staff' }),
  claims: Claims,
  allowed_domains: z
    .array(Domain)
    .max(100)
    .openapi({
      description: 'A login needs a verified e-mail address in one of these domains. Empty: any, or none.',
      example: ['acme.example'],
    }),
  creates_users: z.boolean().openapi({
    description: 'Whether the first login of somebody with a verified address creates a user',
  }),
  role_id: z.uuid().nullable().openapi({ description: 'The role of users that are created. null: that of registration.' }),
  role_mapping: RoleMapping,
  links_by_email: z.boolean().openapi({
    description:
      'Whether a first login with the verified address of a user is theirs. Never of users with administrative permissions.',
  }),
  trusts_emails: z.boolean().openapi({
    description: 'Take addresses for verified though the token does not say so, as those of a directory that is yours alone',
  }),
  mfa_values: z
    .array(Text(255))
    .max(20)
    .openapi({
      description: 'Values of `amr` or `acr` that count as two factors. Empty: a second factor is asked for here.',
      example: ['mfa'],
    }),
  accepts_tokens: z.boolean().openapi({
    description:
      'Take access tokens of the provider as bearer tokens, of users who have an identity of it. No second factor is asked of them.',
  }),
  is_enabled: z.boolean(),
})
const Fixed = z.object({
  name: ProviderName,
  type: z.enum(TYPES),
  issuer: z.string().min(1).max(500).openapi({ description: '`iss` of its tokens', example: 'https://accounts.google.com' }),
  client_id: z
    .string()
    .min(1)
    .max(255)
    .regex(/^[!-~]*$/, 'must be the id of a client')
    .openapi({ description: '`aud` of its tokens; of Firebase the id of the project', example: 'acme-client' }),
})
const Secret = z
  .string()
  .min(1)
  .max(1024)
  .regex(/^[ -~]*$/, 'must be the secret of a client')
  .nullable()
  .openapi({ description: 'Of a confidential client. It is never returned.', writeOnly: true })

export const Provider = Fixed.extend({
  id: z.uuid(),
  is_confidential: z.boolean().openapi({ description: 'Whether its client has a secret' }),
})
  .extend(Editable.shape)
  .extend({ created_at: z.iso.datetime(), updated_at: z.iso.datetime() })
  .openapi('Provider')
type Wire = z.infer<typeof Provider>
export const ProviderList = z.object({ data: z.array(Provider) }).openapi('ProviderList')
export const NewProvider = Fixed.extend(Editable.partial().required({ label: true }).shape)
  .extend({ client_secret: Secret.optional() })
  .openapi('NewProvider')
export const ProviderPatch = Editable.partial().extend({ client_secret: Secret.optional() }).openapi('ProviderPatch')

/** What the secret of a provider's client is encrypted for. */
export const secretOf = (id: string) => `client_secret:${id}`

const SHOWN =
  'p.id, p.name, p.type, p.issuer, p.client_id, p.is_confidential, p.label, p.claims, p.allowed_domains, p.creates_users, p.role_id, p.role_mapping, p.links_by_email, p.trusts_emails, p.mfa_values, p.accepts_tokens, p.is_enabled'
const columns = sql`${sql.raw(SHOWN)}, ${rfc3339('p.created_at')} as created_at, ${rfc3339('p.updated_at')} as updated_at`
const one = (id: string) => sql`select ${columns} from freehold.providers p where p.id = ${id}`

/** Refuses a provider that the caller can only read. */
const reach = (id: string) => sql`select access.require_reach('provider', ${id}::uuid)`

function firstOrNotFound(result: unknown): Wire {
  const [provider] = rowsOf<Wire>(result)
  if (!provider) throw new Problem('not_found')
  return provider
}

/** The columns of what was given, as values of SQL. */
async function assigned(ctx: Ctx, id: string, { client_secret, ...given }: z.infer<typeof ProviderPatch>) {
  const values = Object.entries(given)
    .filter(([, value]) => value !== undefined)
    .map(([column, value]): [string, ReturnType<typeof sql>] => [
      column,
      Array.isArray(value)
        ? sql`array(select jsonb_array_elements_text(${JSON.stringify(value)}::jsonb))`
        : typeof value === 'object' && value !== null
          ? sql`${JSON.stringify(value)}::jsonb`
          : sql`${value}`,
    ])
  if (client_secret === undefined) return values
  const sealed = client_secret && (await encrypt(ctx.config.ENCRYPTION_KEYS, ctx.realm.id, secretOf(id), client_secret))
  return [...values, ['client_secret_encrypted', sql`${sealed}::text`] as [string, ReturnType<typeof sql>]]
}

/** Lists the providers, by label; there are 20 at most. One round trip; `setting:read`. */
export async function listProviders(ctx: Ctx): Promise<z.infer<typeof ProviderList>> {
  const [result] = await ctx.run(ctx.db.execute(sql`select ${columns} from freehold.providers p order by p.label, p.id`))
  return { data: rowsOf<Wire>(result) }
}

/** Gets a provider. One round trip; `setting:read`. Fails with not_found. */
export const getProvider = async (ctx: Ctx, id: string): Promise<Wire> =>
  firstOrNotFound((await ctx.run(ctx.db.execute(one(id))))[0])

/**
 * Adds a provider. One round trip; `setting:update` at scope `all`. Fails with invalid_request (the issuer, a role), already_exists,
 * limit_reached (more than 20), forbidden (it is believed more than the caller may decide, or gives roles that they do not hold).
 */
export async function createProvider(ctx: Ctx, wanted: z.infer<typeof NewProvider>): Promise<Wire> {
  const { name, type, issuer, client_id, ...editable } = wanted
  const fault = faultOfIssuer(ctx.config, type, issuer)
  if (fault) throw invalid('issuer', fault)
  const id = crypto.randomUUID()
  const values = await assigned(ctx, id, editable)
  const names = ['id', 'name', 'type', 'issuer', 'client_id', ...values.map(([column]) => column)].map((column) =>
    sql.identifier(column),
  )
  const row = [sql`${id}`, sql`${name}`, sql`${type}`, sql`${issuer}`, sql`${client_id}`, ...values.map(([, value]) => value)]
  const [made] = await create<Wire>(ctx, {
    made: sql`made as (insert into freehold.providers as p (${sql.join(names, sql`, `)}) values (${sql.join(row, sql`, `)}) returning ${columns})`,
  }).catch((error: unknown) => {
    if (brokenConstraint(error) !== 'providers_name') throw error
    const errors = [{ pointer: '#/name', detail: 'is taken' }]
    throw new Problem('already_exists', 'Another provider has this name.', { errors, cause: error })
  })
  if (!made) throw new Problem('not_found')
  return made
}

/** Changes the given fields. One round trip; `setting:update` at scope `all`. Fails with not_found, etag_mismatch, and as `createProvider` does. */
export async function changeProvider(
  ctx: Ctx,
  id: string,
  wanted: z.infer<typeof ProviderPatch>,
  ifMatch?: string,
): Promise<Wire> {
  const values = await assigned(ctx, id, wanted)
  const assignments = values.map(([column, value]) => sql`${sql.identifier(column)} = ${value}`)
  const update = sql`update freehold.providers p set ${sql.join(assignments.length ? assignments : [sql`label = p.label`], sql`, `)}
    where p.id = ${id} and ${matches('p.updated_at', ifMatch)} returning p.id`
  const [, changed, result] = await ctx.run(ctx.db.execute(reach(id)), ctx.db.execute(update), ctx.db.execute(one(id)))
  const provider = firstOrNotFound(result)
  if (rowsOf(changed).length === 0) throw unchanged(provider, ifMatch)
  return provider
}

/** Removes a provider with which nobody logs in. One round trip; `setting:update` at scope `all`. Fails with not_found, in_use. */
export async function removeProvider(ctx: Ctx, id: string): Promise<void> {
  const [, removed] = await ctx.run(
    ctx.db.execute(reach(id)),
    ctx.db.execute(sql`delete from freehold.providers p where p.id = ${id} returning p.id`),
  )
  if (rowsOf(removed).length === 0) throw new Problem('not_found')
}
