import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { InvalidArgumentError, Option } from 'commander'
import type { Command } from './command.ts'
import { Failure } from './failure.ts'
import type { Globals } from './options.ts'
import { paint, plain, print, printJson, type Style, tell } from './output.ts'
import { subdomain } from './planes.ts'
import { documents, type Filter, isWanted, LEVELS, type Line, linesOf } from './tail.ts'

const STYLES: Record<Line['level'], Style> = { info: 'green', warn: 'yellow', error: 'red' }

/** The command that shows what the Worker in production writes. */
export function addLogs(program: Command): void {
  program
    .command('logs')
    .description('show what the Worker in production logs, as it does, until Ctrl-C; one line each')
    .example('--tenant acme --level warn')
    .option('--tenant <subdomain>', 'lines of a tenant', subdomain)
    .option('--trace <id>', 'lines of a trace id, as X-Trace-Id and problems have it', trace)
    .addOption(new Option('--level <level>', 'lines of this level and above').choices(LEVELS))
    .option('--status <status>', 'lines of requests that were answered with this, as 503 or 4xx', status)
    .option('--worker <name>', 'a Worker by its name; default: production of the wrangler.toml of this folder', worker)
    .addHelpText(
      'after',
      `
An error is what failed, what was thrown, and an answer of 500 and above; a warning is an answer of 400 and above.
With --json each line is a JSON document.

It runs \`wrangler tail\`: wrangler is on the PATH (in the repository: npm run freehold -- logs), and logged in, or has CLOUDFLARE_API_TOKEN.`,
    )
    .action((_, command: Command) => follow(command.optsWithGlobals()))
}

async function follow(options: Globals & Filter & { worker?: string }): Promise<void> {
  const which = options.worker === undefined ? ['--env', 'production'] : [options.worker]
  const words = ['tail', ...which, '--format', 'json']
  const stdio: ['ignore', 'pipe', 'inherit'] = ['ignore', 'pipe', 'inherit']
  // On Windows it is wrangler.cmd, which only a shell runs. Each word is one that needs no quotes: see the parsers below.
  const child =
    process.platform === 'win32'
      ? spawn(`wrangler ${words.join(' ')}`, { stdio, shell: true })
      : spawn('wrangler', words, { stdio })
  const ended = once(child, 'close').catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
    throw new Failure(
      'There is no wrangler on the PATH: npm install -g wrangler, or run this in the repository: npm run freehold -- logs.',
    )
  })
  // Wrangler ends its tail at Cloudflare before it ends itself.
  let interrupted = false
  const interrupt = () => {
    interrupted = true
    child.kill('SIGINT')
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, interrupt)
  process.once('exit', () => child.kill('SIGINT'))
  const shown = async () => {
    for await (const found of documents(child.stdout.setEncoding('utf8'))) {
      if ('said' in found) tell(plain(found.said))
      else
        for (const line of linesOf(found.document))
          if (isWanted(line, options)) options.json ? printJson(line, 0) : print(inWords(line))
    }
  }
  const [[code]] = await Promise.all([ended, shown()])
  if (code !== 0 && !interrupted) throw new Failure(`wrangler ended with ${code}: what it said is above.`)
}

function inWords({ at, level, event, tenant, trace_id, status, ...fields }: Line & Record<string, unknown>): string {
  const { method, path, code, ...rest } = fields
  const request = event === 'request' ? [method, path, status, code] : [event]
  const others = Object.entries(rest).flatMap(([name, value]) =>
    value === null || value === '' ? [] : [`${name}=${quoted(value)}`],
  )
  const words = [...request.filter((word) => word !== null && word !== undefined).map(String), ...others]
  const styled = paint(process.stdout, STYLES[level], level.padEnd(5))
  const head = `${plain(at).slice(0, 23).replace('T', ' ')}  ${styled}  ${plain(tenant ?? '-')}`
  return `${head}  ${words.map(plain).join(' ')}${trace_id ? `  ${plain(trace_id)}` : ''}`
}

const quoted = (value: unknown) => (typeof value === 'string' && !/[\s"=]/.test(value) ? value : JSON.stringify(value))

function trace(text: string): string {
  if (!/^[0-9a-f]{32}$/i.test(text)) throw new InvalidArgumentError('It must be a trace id: 32 hex digits.')
  return text.toLowerCase()
}

function worker(text: string): string {
  if (!/^[a-z0-9][a-z0-9_-]{0,254}$/i.test(text)) throw new InvalidArgumentError('It must be the name of a Worker.')
  return text
}

function status(text: string): string {
  if (!/^[1-5](\d\d|xx)$/.test(text)) throw new InvalidArgumentError('It must be a status, as 503, or a class of them, as 5xx.')
  return text
}
