import type { Command } from './command.ts'
import { Failure } from './failure.ts'
import type { Globals } from './options.ts'
import { print, printJson, tell } from './output.ts'
import { currentName, profileName, profileNames, readProfile, removeProfile, useProfile, withLock } from './profiles.ts'
import { table } from './table.ts'

/** The commands on the profiles of this machine. */
export function addProfiles(program: Command): void {
  const profiles = program
    .command('profiles')
    .description('list, choose and remove the profiles of this machine; see: freehold login')

  profiles
    .command('list', { isDefault: true })
    .description('list who is logged in, and where')
    .example()
    .action((_, command: Command) => list(command.optsWithGlobals<Globals>()))

  profiles
    .command('use')
    .description('use a profile where none is named')
    .example('acme')
    .argument('<name>', 'its name', profileName)
    .action(async (name: string, _, command: Command) => {
      if (!(await profileNames()).includes(name)) throw missing(name)
      await useProfile(name)
      if (command.optsWithGlobals<Globals>().json) printJson({ profile: name, is_current: true })
      else tell(`Commands use the profile ${name}.`)
    })

  profiles
    .command('remove')
    .description(
      'remove a profile on this machine alone, without a network; its session goes on until it ends: see freehold logout',
    )
    .example('acme')
    .argument('<name>', 'its name', profileName)
    .action(async (name: string, _, command: Command) => {
      if (!(await withLock(name, () => removeProfile(name)))) throw missing(name)
      if (command.optsWithGlobals<Globals>().json) printJson({ profile: name, state: 'removed' })
      else tell(`The profile ${name} is removed. Its session was not ended.`)
    })
}

const missing = (name: string) => new Failure(`There is no profile ${name}; see freehold profiles.`, 'not_found')

async function list({ json }: Globals): Promise<void> {
  const current = await currentName()
  const data = []
  for (const name of await profileNames()) {
    const profile = await readProfile(name)
    if (profile)
      data.push({ profile: name, url: profile.url, tenant: profile.tenant, email: profile.email, is_current: name === current })
  }
  if (json) return printJson({ data })
  if (!data.length) return tell('Nobody is logged in; see freehold login.')
  const rows = data.map((one) => [one.is_current ? '*' : '', one.profile, one.email, one.tenant ?? '(platform)', one.url])
  print(table(['', 'PROFILE', 'E-MAIL', 'TENANT', 'URL'], rows))
}
