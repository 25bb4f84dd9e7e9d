import { z } from 'zod'
import { withApi } from './api.ts'
import type { Command } from './command.ts'
import { Failure } from './failure.ts'
import type { Globals } from './options.ts'
import { plain, printJson, tell } from './output.ts'
import { findTenant } from './registry.ts'
import { settings } from './settings.ts'

/** The platform's own realm. No tenant has this name: it is reserved. */
const PLATFORM = 'platform'
const Rotation = z.object({ used_from: z.string(), former_until: z.string() })

const SigningKey = z.object({ kid: z.string(), used_from: z.string().nullable() })

/** The commands that rotate what a tenant signs and is reached with. */
export function addRotation(tenants: Command): void {
  addKeyRotation(tenants)
  addLoginRotation(tenants)
  tenants
    .command('rotate-signing-key')
    .description('rotate the key that signs the access tokens of a tenant; tokens of the former one stay valid until they end')
    .example('acme')
    .argument('<tenant>', 'its id or its subdomain')
    .addHelpText(
      'after',
      `
The new key is published at once (/.well-known/jwks.json) and signs from three minutes later. Ten minutes after that the private half of
the former one is destroyed; it is published until the last token that it signed has ended. Run it again if it fails: it goes on where it
stopped, and so does the scheduled job.`,
    )
    .action(async (name: string, _, command: Command) => {
      const options = command.optsWithGlobals<Globals>()
      const rotated = await withApi(options, async (api) => {
        const { id } = await findTenant(api, name)
        return api.call(SigningKey, 'POST', `/tenants/${id}/rotate-signing-key`)
      })
      if (options.json) printJson(rotated)
      else if (rotated.used_from) tell(plain(`The signing key ${rotated.kid} of ${name} is used from ${rotated.used_from}.`))
      else
        tell(
          `The signing key ${rotated.kid} of ${name} is used three minutes after it is known everywhere: the scheduled job goes on.`,
        )
    })
}

const Logins = z.object({
  state: z.string(),
  step: z.string(),
  error: z.string().nullable(),
  left_until: z.string().nullable(),
})

function addLoginRotation(tenants: Command): void {
  tenants
    .command('rotate-credentials')
    .description('give a tenant new logins to its database; the former ones work until everybody knows the new ones')
    .example('acme')
    .example('acme --show')
    .argument('<tenant>', 'its id or its subdomain')
    .option('--show', 'show the newest rotation, and begin none')
    .addHelpText(
      'after',
      `
New logins are made and proven beside the former ones, and become the tenant's at once; no request fails. The former ones are dropped three
minutes after KV has the new ones. Meanwhile the tenant is not moved, migrated or given new keys, and its last migration cannot be undone
any more. Of an adopted database the given connection string stays. --show says how far it is; a rotation that stopped is gone on with by
the scheduled job, and one that failed says at which step and why, and leaves the tenant as it was.`,
    )
    .action(async (name: string, _, command: Command) => {
      const options = command.optsWithGlobals<Globals & { show?: boolean }>()
      const rotation = await withApi(options, async (api) => {
        const { id } = await findTenant(api, name)
        return api.call(Logins, options.show ? 'GET' : 'POST', `/tenants/${id}/rotate-credentials`)
      })
      if (options.json) printJson(rotation)
      else {
        const { state, step, error, left_until } = rotation
        const why = error ? ` (${error})` : ''
        tell(plain(`The rotation of the logins of ${name} is ${state}, at the step ${step}${why}.`))
        if (state === 'leaving' && left_until) tell(`The former logins are dropped after ${plain(left_until)}.`)
      }
      if (rotation.state === 'failed') process.exitCode = 1
    })
}

function addKeyRotation(tenants: Command): void {
  tenants
    .command('rotate-keys')
    .description('rotate the keys of a tenant for refresh tokens, the system and claims; sessions and requests go on')
    .example('acme')
    .example('platform')
    .argument('<tenant>', 'its id or its subdomain; "platform" for the platform\'s own')
    .addHelpText(
      'after',
      `
New keys are used from three minutes later; the former key of the system is accepted ten minutes more. Run it again if it fails: it goes
on where it stopped, and the scheduled job does so for tenants. Not rotated: the signing key (rotate-signing-key), ENCRYPTION_KEYS
(keys rotate) and OWNER_KEYS (keys reencrypt).

Settings of the environment, for "platform":
  MASTER_DATABASE_URL  the master database
  ENCRYPTION_KEYS      the key ring of the Worker
  NEON_SQL_URL         only for a local Neon: its URL for SQL over HTTP; https://, unless it is this machine or with --insecure`,
    )
    .action(async (name: string, _, command: Command) => {
      const options = command.optsWithGlobals<Globals>()
      const rotated = name === PLATFORM ? await rotatePlatform(options) : await rotateTenant(name, options)
      if (options.json) printJson(rotated)
      else
        tell(
          `New keys of ${name} are used from ${rotated.used_from}; the former ones are accepted until ${rotated.former_until}.`,
        )
    })
}

const rotateTenant = (name: string, options: Globals) =>
  withApi(options, async (api) => {
    const { id } = await findTenant(api, name)
    return api.call(Rotation, 'POST', `/tenants/${id}/rotate-keys`)
  })

async function rotatePlatform(options: Globals) {
  const config = settings(options, [])
  // Loaded for this command only: the others need no database driver, and start faster without.
  const { dbError, useSqlUrl } = await import('../../src/kernel/db.ts')
  const { rotatePlatformKeys } = await import('../../src/tenants/lifecycle/rotation.ts')
  useSqlUrl(config.NEON_SQL_URL)
  return rotatePlatformKeys(config).catch((error: Error) => {
    // The message of a failed query contains its parameters; only the database's own message is shown.
    throw new Failure(
      error.message.startsWith('Failed query') ? `The master: ${dbError(error)?.message ?? 'no answer'}` : error.message,
    )
  })
}
