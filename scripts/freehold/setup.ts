import type { Command } from './command.ts'
import type { GuidedOptions } from './deployment/guided.ts'
import { domainName, emailAddress, type Globals } from './options.ts'
import { print, printJson } from './output.ts'
import { setUpMaster } from './set-up-master.ts'
import { settings } from './settings.ts'
import { pairs } from './table.ts'

/** The command that sets up the platform itself: its master, or with a domain the whole deployment. */
export function addSetup(program: Command): void {
  program
    .command('setup')
    .description(
      'set a deployment up at a domain; without one, create or update the master database and the first operator alone',
    )
    .example('id.your-company.com --email you@your-company.com --dry-run')
    .argument('[domain]', 'where the platform is to be', domainName)
    .requiredOption('--email <address>', 'e-mail address of the first operator', emailAddress)
    .option(
      '--tenant-domain <domain>',
      'with a domain: one label below which tenants are; default: what wrangler.toml says of the domain, else the domain',
      domainName,
    )
    .option('--region <region>', 'with a domain: the region at Neon', 'aws-us-east-1')
    .option('--secrets-file <file>', 'with a domain: where generated secrets are kept, for you alone', '.freehold-secrets.json')
    .option('--config <file>', "with a domain: wrangler's configuration; default: wrangler.toml of this folder")
    .option('--dry-run', 'with a domain: show every step with its requests, and change nothing')
    .option('--yes', 'with a domain: do all steps without asking, also those that change the whole zone')
    .addHelpText(
      'after',
      `
With a domain it goes from a new account at Neon and at Cloudflare to a Worker that answers: Neon project, keys, master database, KV
namespace, wrangler.toml, DNS records, settings of the zone, deploy, /readyz, first operator. Each step looks first, shows its requests
and asks. Run it again after an interruption: what is done stays. Settings of the environment:
  NEON_API_KEY              an organization's key; with a personal key NEON_ORG_ID, too
  CLOUDFLARE_API_TOKEN      a token for the account and the zone; --dry-run without it names the permissions
  NEON_API_URL, CLOUDFLARE_API_BASE_URL
                            others than those of Neon and Cloudflare; https://, unless it is this machine or with --insecure
Calls of Neon's API are counted for this run alone: a Worker that uses the same account has the same 700 a minute.
--url or FREEHOLD_URL is where /readyz is asked, if not at the domain.

Without a domain, settings of the environment:
  MASTER_DATABASE_URL       the master database; its login must own it, and be able to create roles
  MASTER_READER_URL         the same database, as the login of the Worker that only reads the registry: it is created, or gets
                            the password that stands here; see: freehold keys reader
  ENCRYPTION_KEYS           the key ring of the Worker; see: freehold keys new
  PASSWORD_HASH_ITERATIONS  as the Worker has it, if it has it
  NEON_SQL_URL              only for a local Neon: its URL for SQL over HTTP; https://, unless it is this machine or with --insecure
The operator's password is generated, shown only once, works for 72 hours, and must be changed at the first login. An existing operator
keeps theirs.`,
    )
    .action(async (domain: string | undefined, _, command: Command) => {
      const options = command.optsWithGlobals<GuidedOptions>()
      if (domain === undefined) return setup(options)
      // Loaded for this command only: wrangler and the clients take a second.
      const { setUpDeployment } = await import('./deployment/guided.ts')
      return setUpDeployment(domain, options, options.url ?? null)
    })
}

async function setup(options: Globals & { email: string }): Promise<void> {
  const { email, json } = options
  const config = settings(options, ['MASTER_READER_URL'])
  // Loaded for this command only: the others need no database driver, and start faster without.
  const { useSqlUrl } = await import('../../src/kernel/db.ts')
  const { generatePassword } = await import('../../src/passwords/hash.ts')
  useSqlUrl(config.NEON_SQL_URL)
  const password = generatePassword()
  const is_new = await setUpMaster(config, { email, password, must_change_password: true })
  if (json) return printJson({ operator: { email, is_new, ...(is_new && { password, must_change_password: true }) } })
  if (!is_new) return print(`The master database is ready. The operator ${email} exists already; the password stays as it is.`)
  print('The master database is ready.\n')
  print(
    pairs([
      ['operator', email],
      ['password', password],
    ]),
  )
  print(
    '\nThe password is shown only once. It works for 72 hours, and must be changed at the first login, with POST /platform/v1/auth/password-change.',
  )
}
