import { z } from 'zod'
import { withApi } from './api.ts'
import type { Command } from './command.ts'
import { WrongUsage } from './failure.ts'
import type { Globals } from './options.ts'
import { plain, print, printJson, tell } from './output.ts'
import { confirm } from './prompt.ts'
import { findTenant } from './registry.ts'

const Done = z.looseObject({ user_id: z.string(), must_change_password: z.boolean(), initial_password: z.string().optional() })
type Options = Globals & { email?: string; userId?: string; yes?: boolean }

/** The command that lets somebody into a tenant again. */
export function addResetting(tenants: Command): void {
  tenants
    .command('reset-password')
    .description('give a user of a tenant a first password, where nobody inside can help; needs tenant:recover')
    .example('acme --email ada@acme.test --yes')
    .argument('<tenant>', 'its id or its subdomain')
    .option('--email <address>', "the user; default: the tenant's admin e-mail")
    .option('--user-id <id>', 'the user by their id, instead of --email')
    .option('--yes', 'do not ask')
    .addHelpText(
      'after',
      `
Their sessions and API keys end, lockouts are cleared, they are told by mail, and must choose a password of their own at the first login.
Both audits name the operator.

Settings of the environment, beside those of every command on tenants:
  FREEHOLD_NEW_PASSWORD  the password; without it one is generated, and shown only once`,
    )
    .action((name: string, _, command: Command) => {
      const options = command.optsWithGlobals<Options>()
      const { email, userId: user_id } = options
      if (email !== undefined && user_id !== undefined) throw new WrongUsage('Give either --email or --user-id.')
      return withApi(options, async (api) => {
        const { id, subdomain, admin_email } = await findTenant(api, name)
        const who = email ?? user_id ?? admin_email
        await confirm(`Give ${plain(who)} of ${plain(subdomain)} a first password, and end their sessions and API keys?`, options)
        // From the environment: every user of the machine can read options.
        const body = { email, user_id, new_password: process.env.FREEHOLD_NEW_PASSWORD || undefined }
        const done = await api.call(Done, 'POST', `/tenants/${id}/reset-password`, { body })
        if (options.json) return printJson(done)
        tell(`${plain(who)} of ${plain(subdomain)} has a first password, which must be changed at the first login.`)
        if (done.initial_password === undefined) return
        tell('It is shown only now:')
        print(done.initial_password)
      })
    })
}
