import { z } from 'zod'
import type { Api } from './api.ts'
import type { Command } from './command.ts'
import { Failure } from './failure.ts'
import { addPaging, listed, type Paging, pages, printList } from './lists.ts'
import { emailAddress, type Globals } from './options.ts'
import { plain, print, printJson, tell } from './output.ts'
import type { inTenant, OnPlane, UsersAt } from './planes.ts'
import { confirm } from './prompt.ts'
import { minute, pairs } from './table.ts'

export const User = z.looseObject({
  id: z.string(),
  username: z.string(),
  email: z.string(),
  given_name: z.string().nullable(),
  family_name: z.string().nullable(),
  phone: z.string().nullable(),
  role: z.string().nullable(),
  roles: z.array(z.string()),
  unit_id: z.string().nullable(),
  manager_id: z.string().nullable(),
  designation: z.string().nullable(),
  is_active: z.boolean(),
  must_change_password: z.boolean(),
  locale: z.string(),
  timezone: z.string(),
  created_at: z.string(),
  initial_password: z.string().optional(),
})
export type User = z.infer<typeof User>
const Reset = z.looseObject({ initial_password: z.string().optional() })

/** The users of a plane: those of a tenant, or the operators of the platform. `of` adds what names the plane. */
export type People = {
  noun: 'user' | 'operator'
  make: string
  suffix: string
  of: (command: Command) => Command
  on: typeof inTenant
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i
export const WHO = 'their id, e-mail address or username'
const NEW_PASSWORD = `
FREEHOLD_NEW_PASSWORD is the password. Without it one is generated, and shown only once.`

/** A user, by their id, e-mail address or username. */
export async function findUser(api: Api, at: UsersAt, name: string): Promise<User> {
  if (UUID.test(name)) return api.call(User, 'GET', `${at}/${name}`)
  const wanted = name.normalize('NFKC').trim().toLowerCase()
  const field = wanted.includes('@') ? 'email' : 'username'
  // Of all that begin with it, it comes first itself.
  for await (const { data } of pages(api, User, at, { search: wanted, sort: field }, 1))
    if (data[0]?.[field] === wanted) return data[0]
  throw new Failure(`There is no ${at === '/operators' ? 'operator' : 'user'} ${plain(name)}.`, 'not_found')
}

type Listed = OnPlane & Paging & Partial<Record<'search' | 'role' | 'status' | 'unit' | 'sort', string>>
type Fields = Partial<
  Record<
    'username' | 'givenName' | 'familyName' | 'phone' | 'role' | 'unit' | 'manager' | 'designation' | 'locale' | 'timezone',
    string
  >
>
type Given = OnPlane & Fields & { email?: string }

/** The commands that list, show, make and change them. */
export function addPeople(parent: Command, people: People): void {
  const { noun, of, on, make, suffix } = people
  const one = noun === 'user' ? 'a user' : 'an operator'
  const named = (name: string, does: string) => of(parent.command(name).description(does)).argument(`<${noun}>`, WHO)
  const example = (command: Command, args: string) => command.example(`${args}${suffix}`)
  const options = <T extends OnPlane>(command: Command) => command.optsWithGlobals<T>()

  example(addPaging(of(parent.command('list').description(`list ${noun}s, by username`))), '--status active --search an')
    .option('--search <text>', 'those whose username begins with this; with --sort, whose e-mail or name does')
    .option('--role <name>', 'those who hold this role now')
    .option('--status <status>', 'active or inactive')
    .option('--unit <id>', 'those of a unit')
    .option('--sort <field>', 'username, email, name or created_at; with a hyphen before it the other way round')
    .action((_, command: Command) => list(options(command), people))

  example(named('show', `show ${one}`), 'ann@example.com').action((name: string, _, command: Command) =>
    on(options(command), async (api, at) => show(await findUser(api, at, name), options(command))),
  )

  const making = of(parent.command(make).description(`${make} ${one} with a first password`))
  example(
    addFields(making.argument('<email>', 'e-mail address', emailAddress)),
    `ann@example.com --role ${noun === 'user' ? 'viewer' : 'auditor'}`,
  )
    .addHelpText('after', NEW_PASSWORD)
    .action((email: string, _, command: Command) => create(email, options(command), people))

  const changing = named('update', `change ${one}; what is left out stays, and "none" removes it`)
  example(addFields(changing), 'ann@example.com --designation Chemist')
    .option('--email <address>', 'e-mail address', emailAddress)
    .action((name: string, _, command: Command) => update(name, options(command), people))

  for (const [verb, does, done] of [
    ['deactivate', 'deactivate them; their sessions and API keys end at once', 'is deactivated'],
    ['reactivate', 'reactivate them', 'is active'],
  ] as const)
    example(named(verb, does), 'ann@example.com').action((name: string, _, command: Command) =>
      on(options(command), async (api, at) => {
        const { id } = await findUser(api, at, name)
        const user = await api.call(User, 'POST', `${at}/${id}/${verb}`)
        if (options(command).json) printJson(user)
        else tell(`${plain(user.email)} ${done}.`)
      }),
    )

  example(
    named('reset-password', 'set a first password, which they must change; their sessions and API keys end'),
    'ann@example.com --yes',
  )
    .option('--yes', 'do not ask')
    .option('--link-only', 'only mail them a link with which they set a new one; nothing else changes')
    .option('--keep-api-keys', 'let their API keys go on')
    .addHelpText('after', NEW_PASSWORD)
    .action((name: string, _, command: Command) => reset(name, options(command), people))
}

const addFields = (command: Command): Command =>
  command
    .option('--username <name>', 'username; of a new one the default is made of the e-mail address')
    .option('--given-name <name>', 'given name')
    .option('--family-name <name>', 'family name')
    .option('--phone <number>', 'phone number')
    .option('--role <name>', 'primary role')
    .option('--unit <id>', 'unit')
    .option('--manager <user>', 'manager: their id, e-mail address or username')
    .option('--designation <text>', 'job title')
    .option('--locale <tag>', 'language, as es-PE')
    .option('--timezone <name>', 'time zone, as America/Lima')

async function fieldsOf(api: Api, at: UsersAt, given: Given) {
  const { username, givenName, familyName, phone, role, unit, manager, designation, locale, timezone } = given
  const manager_id = manager === undefined || manager === 'none' ? manager : (await findUser(api, at, manager)).id
  const fields = {
    given_name: givenName,
    family_name: familyName,
    phone,
    unit_id: unit,
    manager_id,
    designation,
    locale,
    timezone,
  }
  const optional = Object.entries(fields).map(([name, value]) => [name, value === 'none' ? null : value])
  return { username, role, ...Object.fromEntries(optional) }
}

function list(options: Listed, { noun, on }: People): Promise<void> {
  const { search, role, status, unit: unit_id, sort } = options
  return on(options, async (api, at) => {
    const found = await listed(api, User, at, { search, role, status, unit_id, sort }, options)
    const heads = ['E-MAIL', 'USERNAME', 'NAME', 'ROLES', 'STATUS', 'CREATED (UTC)']
    printList(found, options, `There is no such ${noun}.`, heads, (u) => [
      u.email,
      u.username,
      nameOf(u),
      u.roles.join(' ') || '-',
      statusOf(u),
      minute(u.created_at),
    ])
  })
}

const create = (email: string, options: Given, { on }: People): Promise<void> =>
  on(options, async (api, at) => {
    // From the environment: every user of the machine can read options.
    const password = process.env.FREEHOLD_NEW_PASSWORD || undefined
    const body = { email, ...(await fieldsOf(api, at, options)), password }
    show(await api.call(User, 'POST', at, { body }), options)
  })

const update = (name: string, options: Given, { on }: People): Promise<void> =>
  on(options, async (api, at) => {
    const { id } = await findUser(api, at, name)
    const body = { email: options.email, ...(await fieldsOf(api, at, options)) }
    show(await api.call(User, 'PATCH', `${at}/${id}`, { body }), options)
  })

const reset = (
  name: string,
  options: OnPlane & { linkOnly?: boolean; keepApiKeys?: boolean; yes?: boolean },
  { on }: People,
): Promise<void> =>
  on(options, async (api, at) => {
    const { id, email } = await findUser(api, at, name)
    const ends = options.keepApiKeys ? 'sessions' : 'sessions and API keys'
    if (!options.linkOnly) await confirm(`Give ${plain(email)} a first password, and end their ${ends}?`, options)
    const new_password = options.linkOnly ? undefined : process.env.FREEHOLD_NEW_PASSWORD || undefined
    const body = { new_password, link_only: options.linkOnly, revoke_api_keys: options.keepApiKeys ? false : undefined }
    const done = await api.call(Reset, 'POST', `${at}/${id}/reset-password`, { body })
    if (options.json) return printJson(done)
    if (options.linkOnly) return tell(`A link to set a new password is on its way to ${plain(email)}.`)
    tell(`${plain(email)} has a first password, which must be changed at the first login.`)
    if (done.initial_password === undefined) return
    tell('It is shown only now:')
    print(done.initial_password)
  })

const nameOf = ({ given_name, family_name }: User) => [given_name, family_name].filter(Boolean).join(' ') || '-'
const statusOf = ({ is_active }: User) => (is_active ? 'active' : 'inactive')

function show(user: User, { json }: Pick<Globals, 'json'>): void {
  if (json) {
    printJson(user)
    return
  }
  const { initial_password } = user
  print(
    pairs([
      ['e-mail', user.email],
      ['username', user.username],
      ['name', nameOf(user)],
      ['status', statusOf(user)],
      ['role', user.role ?? '-'],
      ['roles', user.roles.join(' ') || '-'],
      ['id', user.id],
      ['unit', user.unit_id ?? '-'],
      ['manager', user.manager_id ?? '-'],
      ['designation', user.designation ?? '-'],
      ['phone', user.phone ?? '-'],
      ['language', user.locale],
      ['time zone', user.timezone],
      ['created (UTC)', minute(user.created_at)],
      ...(user.must_change_password
        ? [['password', initial_password ?? 'must be changed at the next login'] as [string, string]]
        : []),
    ]),
  )
  if (initial_password !== undefined) tell('The password is shown only now, and must be changed at the first login.')
}
