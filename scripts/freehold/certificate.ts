import { compactVerify, createLocalJWKSet, errors } from 'jose'
import { z } from 'zod'
import { type Api, withApi } from './api.ts'
import type { Command } from './command.ts'
import { Failure } from './failure.ts'
import type { Globals } from './options.ts'
import { print, printJson, tell } from './output.ts'
import { pairs } from './table.ts'

const TYPE = 'freehold-erasure+jwt'
const Certificate = z.looseObject({ tenant_id: z.string(), subdomain: z.string(), certificate: z.string() })
const Keys = z.object({ keys: z.array(z.looseObject({ kid: z.string(), kty: z.string() })) })
const Statement = z.looseObject({
  iss: z.string(),
  sub: z.string(),
  tenant: z.looseObject({ subdomain: z.string(), isolation: z.string() }),
  destroyed: z.looseObject({
    project: z.string().nullable(),
    branches: z.array(z.string()),
    database: z.string().nullable(),
    schemas: z.array(z.string()),
    logins: z.array(z.string()),
    signing_keys: z.array(z.string()),
    kv: z.array(z.string()),
  }),
  left: z.string().nullable(),
  requested_at: z.string(),
  requested_by: z.string().nullable(),
  erased_at: z.string(),
  audit_checkpoint: z.looseObject({ no: z.number(), hash: z.string() }).nullable(),
})
type Statement = z.infer<typeof Statement>

/** The command that shows what proves an erasure. */
export function addCertificate(tenants: Command): void {
  tenants
    .command('certificate')
    .description('print the signed certificate of the erasure of a tenant')
    .example('0198c2f0-7c1e-7b53-9d1f-3f6f4c6a2b10 --verify')
    .argument('<tenant-id>', 'the id that the tenant had')
    .option('--verify', 'verify it with the published keys of the platform, and show what it says')
    .addHelpText(
      'after',
      `
The certificate is a JWS (ES256). Whoever is given it verifies it with the keys at /platform/v1/.well-known/jwks.json.`,
    )
    .action((id: string, _, command: Command) => {
      const options = command.optsWithGlobals<Globals & { verify?: boolean }>()
      return withApi(options, (api) => show(api, id, options))
    })
}

async function show(api: Api, id: string, { json, verify }: Globals & { verify?: boolean }): Promise<void> {
  const found = await api.call(Certificate, 'GET', `/tenants/${encodeURIComponent(id)}/certificate`)
  if (!verify) return json ? printJson(found) : print(found.certificate)
  const statement = await verified(api, found, new URL(api.url).origin)
  if (json) return printJson({ ...found, statement })
  print(pairs(lines(statement)))
  tell('The certificate is valid: the platform signed it, and it is of this tenant.')
}

/** What a certificate says. Fails when no published key of the platform verifies it, or when it is of somebody else. */
async function verified(api: Api, { certificate, tenant_id }: z.infer<typeof Certificate>, origin: string): Promise<Statement> {
  const keys = await api.call(Keys, 'GET', '/.well-known/jwks.json')
  const { payload, protectedHeader } = await compactVerify(certificate, createLocalJWKSet(keys), { algorithms: ['ES256'] }).catch(
    (error) => {
      const is_unknown = error instanceof errors.JWKSNoMatchingKey
      throw new Failure(
        is_unknown
          ? 'The certificate is not valid: the platform publishes no key with its kid.'
          : 'The certificate is not valid: its signature is not of a key of the platform.',
      )
    },
  )
  const said = Statement.safeParse(JSON.parse(new TextDecoder().decode(payload)))
  const is_whole = said.success && protectedHeader.typ === TYPE
  if (!is_whole || said.data.sub !== tenant_id || said.data.iss !== origin)
    throw new Failure('The certificate is not valid: it is of another tenant or platform, or is no certificate of an erasure.')
  return said.data
}

const list = (names: string[]) => names.join(', ') || '-'

const lines = (said: Statement): [string, string][] => [
  ['tenant', said.sub],
  ['subdomain', said.tenant.subdomain],
  ['isolation', said.tenant.isolation],
  ['project', said.destroyed.project ?? '-'],
  ['branches', list(said.destroyed.branches)],
  ['database', said.destroyed.database ?? '-'],
  ['schemas', list(said.destroyed.schemas)],
  ['logins', list(said.destroyed.logins)],
  ['signing keys', list(said.destroyed.signing_keys)],
  ['KV', list(said.destroyed.kv)],
  ['left alone', said.left ?? '-'],
  ['requested', said.requested_at],
  ['requested by', said.requested_by ?? '-'],
  ['erased', said.erased_at],
  ['audit', said.audit_checkpoint ? `checkpoint ${said.audit_checkpoint.no}, ${said.audit_checkpoint.hash}` : '-'],
]
