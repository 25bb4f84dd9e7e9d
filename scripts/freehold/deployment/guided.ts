/** The set-up of a deployment: from an account at Neon and one at Cloudflare to a Worker that answers, and its first operator. */
import { resolve } from 'node:path'
import { createInterface } from 'node:readline/promises'
import { fileURLToPath } from 'node:url'
import { Failure } from '../failure.ts'
import { type Globals, requireEncryption } from '../options.ts'
import { print, printJson, tell } from '../output.ts'
import { pairs } from '../table.ts'
import { API, cloudflare } from './cloudflare.ts'
import { type Context, hostsOf } from './context.ts'
import { masterStep, operatorStep, secretsStep } from './master.ts'
import { namesStep } from './names.ts'
import { neonKeyStep, projectStep } from './neon.ts'
import { goThrough, type Outcome, type Step } from './steps.ts'
import { deployStep, readyStep } from './worker.ts'
import { bucketStep, configStep, namespaceStep, tenantDomainIn, tenantDomainStep } from './wrangler-config.ts'
import { botStep, certificateStep, recordStep, settingSteps, zoneStep } from './zone.ts'

export type GuidedOptions = Globals & {
  email: string
  region: string
  tenantDomain?: string
  config?: string
  secretsFile: string
  dryRun?: boolean
  yes?: boolean
}

const CONFIG = fileURLToPath(new URL('../../../wrangler.toml', import.meta.url))

/** The steps, in their order: what may be refused comes before anything is made. `is_said`: where tenants are was named. */
const stepsOf = (context: Context, is_said: boolean): Step[] => [
  neonKeyStep(context),
  zoneStep(context),
  namesStep(context),
  certificateStep(context),
  ...(is_said ? [tenantDomainStep(context)] : []),
  projectStep(context),
  secretsStep(context),
  masterStep(context),
  namespaceStep(context),
  bucketStep(context),
  configStep(context),
  ...hostsOf(context.wanted).map((host) => recordStep(context, host)),
  ...settingSteps(context),
  botStep(context),
  deployStep(context),
  readyStep(context),
  operatorStep(context),
]

/**
 * Sets a deployment up, or with `dryRun` shows what it would do. Without a terminal and without `yes` it asks nothing and changes
 * nothing. `ready_at` is where /readyz is asked instead of the domain. Fails with Failure.
 */
export async function setUpDeployment(domain: string, options: GuidedOptions, ready_at: string | null): Promise<void> {
  const { CLOUDFLARE_API_TOKEN, CLOUDFLARE_API_BASE_URL } = process.env
  const base = (CLOUDFLARE_API_BASE_URL || API).replace(/\/+$/, '')
  requireEncryption(base, 'CLOUDFLARE_API_BASE_URL', options)
  const config = resolve(options.config ?? CONFIG)
  const context: Context = {
    wanted: {
      domain,
      tenant_domain: options.tenantDomain ?? tenantDomainIn(config, domain),
      email: options.email,
      region: options.region,
      config,
      secrets: resolve(options.secretsFile),
      ready_at: ready_at ?? `https://${domain}`,
    },
    known: {},
    options,
    api: cloudflare(CLOUDFLARE_API_TOKEN || undefined, base),
  }
  const is_silent = !options.yes && !process.stdin.isTTY
  const dry_run = options.dryRun === true || is_silent
  const outcomes = await goThrough(stepsOf(context, options.tenantDomain !== undefined), {
    dry_run,
    ask: options.yes ? async () => true : askOnTerminal,
  })
  if (is_silent && !options.dryRun)
    throw new Failure('Nothing was changed: this is no terminal to ask on. Give --yes to do it all, or --dry-run to only look.')
  report(context, outcomes, dry_run)
}

async function askOnTerminal({ optional }: Step): Promise<boolean> {
  const lines = createInterface({ input: process.stdin, output: process.stderr })
  // Ctrl-C and Ctrl-D.
  const closed = new Promise<null>((done) => lines.once('close', () => done(null)))
  try {
    for (;;) {
      const asked = lines.question(`          Do it? [yes/${optional ? 'skip' : 'no'}] `).catch(() => null)
      const answer = (await Promise.race([asked, closed]))?.trim().toLowerCase()
      if (answer === undefined) throw new Failure('Stopped. Run the same command again to go on from here.')
      if (['y', 'yes'].includes(answer)) return true
      if (['n', 'no', 's', 'skip'].includes(answer)) return false
    }
  } finally {
    lines.close()
  }
}

function report({ known, wanted, options }: Context, outcomes: Outcome[], dry_run: boolean): void {
  const url = `https://${wanted.domain}`
  const left = outcomes.filter(({ state }) => state === 'yours' || state === 'skipped')
  if (options.json) {
    printJson({ url, dry_run, steps: outcomes, ...(known.operator && { operator: known.operator }) })
    return
  }
  if (left.length) tell(`\nLeft to you:\n${left.map(({ step, says }) => `  ${step}: ${says}`).join('\n')}`)
  if (dry_run) {
    print('Nothing was changed.')
    return
  }
  print(`Freehold is at ${url}.\n`)
  const { email = wanted.email, password = 'as it is' } = known.operator ?? {}
  print(
    pairs([
      ['operator', email],
      ['password', password],
    ]),
  )
  print(`
Next:
  1. Put ${wanted.secrets} into a password manager, and delete it.
  2. Change the first password within 72 hours: POST ${url}/platform/v1/auth/login, then /platform/v1/auth/password-change.
  3. Commit wrangler.toml. \`npm run deploy\` deploys from now on.
  4. docs/guides/first-deploy.md has what to look at first on a real account.`)
}
