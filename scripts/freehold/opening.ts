import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { z } from 'zod'
import { connected, withApi } from './api.ts'
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
      "open the page of a tenant in the browser, or without one that of the profile's tenant, or the reference of the platform's API; where there is no browser, print its address",
    )
    .example('acme')
    .example('--print')
    .argument('[tenant]', 'its id or its subdomain')
    .option('--print', 'only print the address')
    .addHelpText('after', CREDENTIAL_SETTINGS)
    .action(async (name: string | undefined, _, command: Command) => {
      const options = command.optsWithGlobals<Globals & { print?: boolean }>()
      const url = await pageFor(options, name)
      if (options.json) return printJson({ url })
      if (!options.print && (await isOpened(url))) tell(`${url} is opened in the browser.`)
      else print(url)
    })
}

const Mine = z.looseObject({ tenant: z.looseObject({ url: z.string() }) })

/** The page that whoever asks wants. The platform has no page for people: its first one is the reference of its API. */
async function pageFor(options: Globals, name: string | undefined): Promise<string> {
  if (name !== undefined) return pageOf(await withApi(options, async (api) => (await findTenant(api, name)).url), '/')
  if (options.url !== undefined) return pageOf(options.url, '/docs')
  const connection = await anyOperator(options)
  if (connection.tenant === null) return pageOf(connection.url, '/docs')
  const { tenant } = await connected(options, connection, (api) => api.call(Mine, 'GET', '/auth/whoami'))
  return pageOf(tenant.url, '/')
}

/** The address of a page. What is no web address is not given to a program that opens anything. */
function pageOf(address: string, path: '/' | '/docs'): string {
  const url = URL.canParse(address) ? new URL(path, address) : null
  // The host comes from an answer, and programs that open addresses read more than a name.
  if (!url || !/^https?:$/.test(url.protocol) || !/^[a-z0-9.:[\]-]+$/.test(url.host))
    throw new Failure(`${plain(address)} is not the address of a page.`)
  return url.href
}

async function isOpened(url: string): Promise<boolean> {
  const { DISPLAY, WAYLAND_DISPLAY } = process.env
  if (process.platform === 'linux' && !DISPLAY && !WAYLAND_DISPLAY) return false
  const [program = '', ...args] = openerOf(process.platform, url)
  const child = spawn(program, args, { stdio: 'ignore', detached: true })
  child.unref()
  return once(child, 'spawn').then(
    () => true,
    () => false,
  )
}

/** The program that opens an address, and its arguments. None is a shell: `start` of Windows is one's own. */
export function openerOf(platform: NodeJS.Platform, url: string): string[] {
  if (platform === 'darwin') return ['open', url]
  return platform === 'win32' ? ['rundll32', 'url.dll,FileProtocolHandler', url] : ['xdg-open', url]
}
