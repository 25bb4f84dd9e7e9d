import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { withApi } from './api.ts'
import type { Command } from './command.ts'
import { anyOperator, CREDENTIAL_SETTINGS } from './credentials.ts'
import { Failure } from './failure.ts'
import type { Globals } from './options.ts'
import { plain, print, printJson, tell } from './output.ts'
import { findTenant } from './registry.ts'

/** The command that opens a page in the browser. */
export function addOpening(program: Command): void {
  program
    .command('open')
    .description(
      'open the page of a tenant in the browser, or without one that of the platform; where there is no browser, print its address',
    )
    .example('acme')
    .argument('[tenant]', 'its id or its subdomain')
    .option('--print', 'only print the address')
    .addHelpText('after', CREDENTIAL_SETTINGS)
    .action(async (name: string | undefined, _, command: Command) => {
      const options = command.optsWithGlobals<Globals & { print?: boolean }>()
      const url = pageOf(await addressOf(options, name))
      if (options.json) return printJson({ url })
      if (!options.print && (await isOpened(url))) tell(`${url} is opened in the browser.`)
      else print(url)
    })
}

const addressOf = async (options: Globals, name: string | undefined) =>
  name === undefined
    ? (options.url ?? (await anyOperator(options)).url)
    : withApi(options, async (api) => (await findTenant(api, name)).url)

/** The address of the first page. What is no web address is not given to a program that opens anything. */
function pageOf(address: string): string {
  const url = URL.canParse(address) ? new URL('/', address) : null
  // The host comes from an answer, and a shell of Windows reads more than a name.
  if (!url || !/^https?:$/.test(url.protocol) || !/^[a-z0-9.:[\]-]+$/.test(url.host))
    throw new Failure(`${plain(address)} is not the address of a page.`)
  return url.href
}

async function isOpened(url: string): Promise<boolean> {
  const { DISPLAY, WAYLAND_DISPLAY } = process.env
  if (process.platform === 'linux' && !DISPLAY && !WAYLAND_DISPLAY) return false
  const [program, ...args] =
    process.platform === 'darwin'
      ? ['open', url]
      : process.platform === 'win32'
        ? ['cmd', '/c', 'start', '""', url]
        : ['xdg-open', url]
  const child = spawn(program ?? '', args, { stdio: 'ignore', detached: true })
  child.unref()
  return once(child, 'spawn').then(
    () => true,
    () => false,
  )
}
