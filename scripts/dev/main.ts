import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { ConfigError } from '../../src/kernel/config.ts'
import { demoTenant } from './demo.ts'
import { type Mailbox, startMailbox } from './mailbox.ts'
import { OPTIONS, optionLines } from './options.ts'
import { checkSettings, forget, givenSettings, keptIn } from './settings.ts'
import { checkPort, endOrphan, startWorker } from './worker.ts'

const HELP = `Freehold on this machine: Postgres, the local Neon, and the Worker, with a first operator and a tenant "demo".

  npm start -- [options]

${optionLines()}
Settings of the environment: BASE_URL, TENANT_URL, TENANT_DB_TEMPLATE, MASTER_DATABASE_URL, MASTER_READER_URL, DEFAULT_TENANT, HOST_CAPACITY,
HOST_BRANCHES, HOST_COMPUTE_CU, DEFAULT_ISOLATION, PROJECT_COMPUTE_CU, ENCRYPTION_KEYS, OWNER_KEYS, PASSWORD_HASH_ITERATIONS; SMTP_URL and MAIL_FROM to send mail instead of keeping it in the mailbox, SMS_WEBHOOK_URL and SMS_WEBHOOK_TOKEN for texts to phones;
PWNED_PASSWORDS_URL.
Ctrl-C ends everything; the data stays.
`

const SCHEDULE_MS = 60_000

async function main(): Promise<void> {
  const { values } = parseArgs({ options: OPTIONS })
  if (values.help) return void process.stdout.write(HELP)
  const port = Number(values.port)
  if (!/^\d{1,5}$/.test(values.port) || port < 1 || port > 65_535)
    throw new Error(`--port ${values.port} is not a port (1-65535).`)
  const say = (line: string) => process.stderr.write(`${line}\n`)
  const dataDir = resolve(values.data)
  const given = givenSettings(process.env)
  // Wrong settings are reported before anything is started or deleted.
  checkSettings({ BASE_URL: `http://localhost:${port}`, ENCRYPTION_KEYS: `k1:${'A'.repeat(43)}`, ...given })
  await endOrphan(dataDir, port)
  await checkPort(port)
  if (values.fresh) await forget(dataDir)
  const kept = await keptIn(dataDir)

  const stops: (() => Promise<void>)[] = []
  let ending = false
  const end = async (code: number) => {
    if (ending) return
    ending = true
    for (const stop of stops.reverse()) await stop().catch((error) => say(String(error)))
    process.exit(code)
  }
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => void end(0))

  try {
    const mailbox = await startMailbox()
    stops.push(mailbox.stop)
    const settings = {
      BASE_URL: `http://localhost:${port}`,
      ENCRYPTION_KEYS: kept.encryption_keys,
      OWNER_KEYS: kept.owner_keys,
      ...(!given.SMTP_URL && { MAILBOX_URL: mailbox.url }),
      ...given,
    }
    // Loaded when all settings are right: a wrong one is told at once.
    const { startStack } = await import('./stack.ts')
    const stack = await startStack({
      dataDir,
      given: settings,
      operator: { ...kept.operator, must_change_password: false },
      log: say,
    })
    stops.push(stack.stop)
    const worker = await startWorker({ dataDir, port, env: stack.env, log: (line) => values.verbose && say(line) })
    stops.push(worker.stop)
    void worker.exited.then(async () => {
      if (ending) return
      say('The Worker ended by itself.')
      await end(1)
    })
    say('The Worker answers.')
    const schedule = () => fetch(`http://127.0.0.1:${port}/cdn-cgi/local/scheduled?cron=*+*+*+*+*`).catch(() => undefined)
    // Locally no cron fires by itself. The first run continues what the last stop interrupted.
    await schedule()
    setInterval(schedule, SCHEDULE_MS).unref()
    const url = new URL(settings.BASE_URL).origin
    const tenant = await demoTenant({ port, url, operator: kept.operator, admin: kept.tenant, say })
    const summary = {
      url,
      platform: kept.operator,
      tenant,
      neon: { api_url: stack.neon.apiUrl, api_key: stack.neon.apiKey, sql_url: stack.neon.sqlUrl },
      postgres_url: stack.neon.postgresUrl,
      mailbox_url: mailbox.url,
    }
    process.stdout.write(values.json ? `${JSON.stringify(summary)}\n` : asText(summary))
  } catch (error) {
    if (!ending) say(error instanceof Error ? error.message : String(error))
    await end(1)
  }
}

type Summary = {
  url: string
  platform: { email: string; password: string }
  tenant: { subdomain: string; url: string; email: string; password: string }
  neon: { api_url: string; api_key: string; sql_url: string }
  postgres_url: string
  mailbox_url: Mailbox['url']
}

const asText = ({ url, platform, tenant, neon, postgres_url, mailbox_url }: Summary) => `
Freehold is ready.

  Platform    ${url}
    operator  ${platform.email}
    password  ${platform.password}

  Tenant      ${tenant.url}
    admin     ${tenant.email}
    password  ${tenant.password}

  API         ${url}/docs
  Mailbox     ${mailbox_url}
  Neon        ${neon.api_url}
    API key   ${neon.api_key}
    SQL       ${neon.sql_url}
  Postgres    ${postgres_url}

Ctrl-C ends it; the data stays.
`

main().catch((error: Error) => {
  process.stderr.write(`${error instanceof ConfigError || error instanceof Error ? error.message : String(error)}\n`)
  process.exit(1)
})
