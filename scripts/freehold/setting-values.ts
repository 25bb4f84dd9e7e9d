import { z } from 'zod'
import type { Command } from './command.ts'
import { Failure } from './failure.ts'
import { plain, print, printJson, tell } from './output.ts'
import { addPlane, type OnPlane, PLANE_SETTINGS, withPlane } from './planes.ts'
import { table } from './table.ts'

const Settings = z.record(z.string(), z.unknown())
type Settings = z.infer<typeof Settings>

/** The commands on the settings of a plane: password policy, sessions, registration, mail limits. */
export function addSettings(program: Command): void {
  const settings = program
    .command('settings')
    .description('show and change settings: password policy, sessions, registration, mail limits')
    .addHelpText('afterAll', PLANE_SETTINGS)

  addPlane(settings.command('get').description('show all settings, or some'))
    .example('session_days --tenant acme')
    .argument('[setting...]', 'their names')
    .action((names: string[], _, command: Command) => {
      const options = command.optsWithGlobals<OnPlane>()
      return withPlane(options, async (api) => {
        const all = await api.call(Settings, 'GET', '/settings')
        for (const name of names) requireKnown(all, name)
        if (options.json) return printJson(names.length ? Object.fromEntries(names.map((name) => [name, all[name]])) : all)
        if (names.length === 1) return print(inWords(all[names[0] ?? '']))
        const rows = Object.entries(all).filter(([name]) => !names.length || names.includes(name))
        print(
          table(
            ['SETTING', 'VALUE'],
            rows.map(([name, value]) => [name, inWords(value)]),
          ),
        )
      })
    })

  const setting = settings.command('set').description('change settings, all of them or none; the others stay')
  addPlane(setting)
    .example(`session_days=14 'registration_domains=["acme.com"]' --tenant acme`)
    .argument('<setting=value...>', 'true or false, a number, a text, a list as JSON, or null, as the setting is')
    .action((given: string[], _, command: Command) => set(given, command.optsWithGlobals()))
}

const set = (given: string[], options: OnPlane) =>
  withPlane(options, async (api) => {
    const before = await api.call(Settings, 'GET', '/settings')
    const body = Object.fromEntries(given.map((text) => assignment(before, text)))
    const after = await api.call(Settings, 'PATCH', '/settings', { body })
    if (options.json) return printJson(after)
    const changed = Object.keys(after).filter((name) => name !== 'updated_at' && inWords(before[name]) !== inWords(after[name]))
    if (!changed.length) return tell('They are so already.')
    print(
      table(
        ['SETTING', 'BEFORE', 'NOW'],
        changed.map((name) => [name, inWords(before[name]), inWords(after[name])]),
      ),
    )
  })

function requireKnown(all: Settings, name: string): void {
  if (!Object.hasOwn(all, name)) throw new Failure(`There is no setting ${plain(name)}: see freehold settings get.`)
}

/** The name and the value of `name=value`: a value of the kind that the setting has now. */
function assignment(all: Settings, text: string): [string, unknown] {
  const at = text.indexOf('=')
  if (at < 1) throw new Failure(`${plain(text)} is not of the form setting=value.`)
  const name = text.slice(0, at)
  const value = text.slice(at + 1)
  requireKnown(all, name)
  const now = all[name]
  const wrong = (kind: string) => new Failure(`${name} must be ${kind}: ${plain(value)} is not.`)
  const parsed = json(value)
  if (parsed === null) return [name, null]
  if (typeof now === 'boolean') {
    if (typeof parsed !== 'boolean') throw wrong('true or false')
    return [name, parsed]
  }
  if (typeof now === 'number') {
    if (typeof parsed !== 'number') throw wrong('a number')
    return [name, parsed]
  }
  if (Array.isArray(now)) {
    if (!Array.isArray(parsed)) throw wrong('a list as JSON, such as ["a","b"]')
    return [name, parsed]
  }
  if (typeof now === 'object' && now !== null) {
    if (typeof parsed !== 'object') throw wrong('an object as JSON, such as {"login":"https://app.example.com/login"}')
    return [name, parsed]
  }
  // Of one that is null now nothing says what it takes: a number is a number, anything else a text.
  if (now === null && typeof parsed === 'number') return [name, parsed]
  return [name, typeof parsed === 'string' ? parsed : value]
}

function json(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function inWords(value: unknown): string {
  if (Array.isArray(value)) return value.length ? value.map(String).join(' ') : 'none'
  return typeof value === 'object' && value !== null ? JSON.stringify(value) : String(value)
}
