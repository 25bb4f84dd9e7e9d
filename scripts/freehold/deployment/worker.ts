/** The deploy, and whether the Worker is ready. */
import { spawn } from 'node:child_process'
import { dirname } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { z } from 'zod'
import { placeholdersOf } from '../../bundle/placeholders.ts'
import { Failure } from '../failure.ts'
import { plain, tell } from '../output.ts'
import { CloudflareError } from './cloudflare.ts'
import type { Context } from './context.ts'
import type { Found, Step } from './steps.ts'
import { accountOf, valuesFor, workerOf } from './wrangler-config.ts'

const WRANGLER = fileURLToPath(new URL('../../../node_modules/wrangler/bin/wrangler.js', import.meta.url))
const READY_MS = 300_000
const POLL_MS = 3_000

const Bindings = z.object({ bindings: z.array(z.looseObject({ type: z.string(), name: z.string() })) })
const Routes = z.array(z.object({ pattern: z.string(), script: z.string().nullish() }))
const Schedules = z.object({ schedules: z.array(z.object({ cron: z.string() })) })
const Workflow = z.object({ script_name: z.string() })

/** Deploys the Worker with its secrets, in one version: none is ever up without them. */
export function deployStep(context: Context): Step {
  const { api, known, wanted } = context
  const args = ['deploy', '--env', 'production', '--config', wanted.config, '--secrets-file', wanted.secrets]
  const missing = async (): Promise<string | null> => {
    if (known.are_secrets_new) return 'it has not the secrets of this run'
    const { name, crons, workflows } = await workerOf(wanted.config)
    const script = `/accounts/${accountOf(context)}/workers/scripts/${name}`
    const { bindings } = await api.ask(Bindings, 'scripts', 'GET', `${script}/settings`)
    const has = (binding: string, value?: string) =>
      bindings.some((each) => each.name === binding && (value === undefined || [each.text, each.namespace_id].includes(value)))
    const { base_url, tenant_url, kv_id, region, routes } = valuesFor(context)
    const secrets = ['MASTER_DATABASE_URL', 'MASTER_READER_URL', 'ENCRYPTION_KEYS', 'OWNER_KEYS', 'NEON_API_KEY']
    const unset = secrets.filter((secret) => !has(secret))
    if (unset.length) return `${name} lacks ${unset.join(', ')}`
    const has_tenants = tenant_url === null ? !has('TENANT_URL') : has('TENANT_URL', tenant_url)
    if (!has('BASE_URL', base_url) || !has_tenants || !has('TENANTS', kv_id) || !has('NEON_REGION', region))
      return `${name} has other settings`
    const taken = await api.ask(Routes, 'routes', 'GET', `/zones/${known.zone?.id}/workers/routes`)
    const route = routes.find(({ pattern }) => !taken.some((each) => each.pattern === pattern && each.script === name))
    if (route) return `${name} has no route ${route.pattern}`
    const { schedules } = await api.ask(Schedules, 'scripts', 'GET', `${script}/schedules`)
    if (!crons.every((cron) => schedules.some((each) => each.cron === cron))) return `${name} is not run by the clock`
    for (const workflow of workflows) {
      const { script_name } = await api.ask(Workflow, 'scripts', 'GET', `/accounts/${accountOf(context)}/workflows/${workflow}`)
      if (script_name !== name) return `the Workflow ${workflow} is of ${script_name}`
    }
    return null
  }
  return {
    name: 'deploy',
    does: 'Uploads the Worker together with its secrets, and its routes, its schedule and its Workflows.',
    look: async () => {
      const lacks = await missing().catch((error) => {
        if (error instanceof CloudflareError && error.status === 404) return 'it is not there, or not whole'
        throw error
      })
      return lacks === null
        ? { is: 'done', says: 'it is there with these settings; `npm run deploy` deploys a newer release' }
        : { is: 'open', says: lacks }
    },
    plan: () => [`npx wrangler ${args.join(' ')}`],
    run: async () => {
      const wrong = placeholdersOf(await workerOf(wanted.config))
      if (wrong.length) throw new Failure(`${wanted.config}: ${wrong.join(' ')}`)
      await wrangler(args, context)
      return 'it is deployed'
    },
  }
}

/** Runs wrangler, which is shown. It asks nothing, and gets no setting that would send it elsewhere. */
async function wrangler(args: string[], { api, known, wanted }: Context): Promise<void> {
  const env = {
    ...process.env,
    CI: 'true',
    NO_COLOR: '1',
    WRANGLER_SEND_METRICS: 'false',
    WRANGLER_HIDE_BANNER: 'true',
    CLOUDFLARE_API_BASE_URL: api.base,
    CLOUDFLARE_API_TOKEN: api.token,
    CLOUDFLARE_ACCOUNT_ID: known.zone?.account.id,
  }
  const child = spawn(process.execPath, [WRANGLER, ...args], {
    cwd: dirname(wanted.config),
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const said: string[] = []
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => {
      for (const line of chunk
        .toString()
        .split('\n')
        .map(plain)
        .filter((text) => text.trim())) {
        said.push(line.trim())
        tell(`          ${line}`)
      }
    })
  const code = await new Promise((done) => child.once('close', done))
  if (code === 0) return
  const errors = said.filter((line) => /✘|\[code: \d+\]/.test(line)).slice(-3)
  const hint = /\b(10000|9109)\b|authentication error/i.test(said.join(' '))
    ? ' CLOUDFLARE_API_TOKEN may do too little: "Account > Workers Scripts: Edit" and "Zone > Workers Routes: Edit" are needed.'
    : ''
  throw new Failure(
    `wrangler could not deploy: ${(errors.length ? errors : said.slice(-1)).join(' ')}${hint} Run this again when it is mended.`,
  )
}

const Ready = z.looseObject({ status: z.unknown() })

/** Asks /readyz until the Worker says that it is ready. */
export function readyStep({ wanted }: Context): Step {
  const url = `${wanted.ready_at.replace(/\/+$/, '')}/readyz`
  const ask = async (): Promise<{ is_ready: boolean; says: string }> => {
    const answer = await fetch(url, { redirect: 'manual', signal: AbortSignal.timeout(20_000) }).catch((error: Error) => {
      const { code = error.message } = (error.cause ?? {}) as { code?: string }
      return code
    })
    if (typeof answer === 'string') return { is_ready: false, says: `${url} cannot be reached (${answer})` }
    const text = plain(await answer.text()).slice(0, 300)
    return {
      is_ready: answer.status === 200 && Ready.safeParse(parsed(text)).success,
      says: `${url} answers ${answer.status} ${text}`,
    }
  }
  return {
    name: 'readyz',
    does: 'Asks the Worker whether it is ready, for up to 5 minutes: new DNS records and certificates take a while.',
    look: async (): Promise<Found> => {
      const { is_ready, says } = await ask()
      return is_ready ? { is: 'done', says } : { is: 'open', says }
    },
    plan: () => [`curl ${url}`],
    run: async () => {
      for (const end = Date.now() + READY_MS; ; await pause(POLL_MS)) {
        const { is_ready, says } = await ask()
        if (is_ready) return says
        if (Date.now() > end)
          throw new Failure(
            `The Worker is not ready: ${says}. What it lacks is in its logs (npx wrangler tail --env production). Run this again when it is mended.`,
          )
      }
    },
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}
