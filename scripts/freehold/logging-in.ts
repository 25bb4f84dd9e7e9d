import { text } from 'node:stream/consumers'
import { z } from 'zod'
import { Label } from '../../src/kernel/config.ts'
import { connected, planeOf } from './api.ts'
import { bearerWith, Tokens, withTokens } from './bearer.ts'
import type { Command } from './command.ts'
import { anyOperator, askedProfile, tenantConnection } from './credentials.ts'
import { ApiProblem, Failure, WrongUsage } from './failure.ts'
import { DEFAULT_URL, type Globals, requireEncryption } from './options.ts'
import { plain, print, printJson, tell } from './output.ts'
import {
  configFolder,
  currentName,
  type Named,
  readProfile,
  removeProfile,
  useProfile,
  withLock,
  writeProfile,
} from './profiles.ts'
import { ask, isAsked } from './prompt.ts'
import { pairs } from './table.ts'
import { type Plane, send, shaped } from './wire.ts'

type Wanted = Globals & { tenant?: string; email?: string; passwordStdin?: boolean }

/** What a login answers that needs a second step. */
const Challenge = z.object({ mfa_required: z.literal(true), mfa_token: z.string(), methods: z.array(z.string()) })

const WhoAmI = z.looseObject({
  username: z.string(),
  tenant: z.looseObject({ subdomain: z.string().nullable(), url: z.string() }),
  roles: z.array(z.string()),
  permissions: z.array(z.string()),
  session: z.looseObject({ expires_at: z.string() }).nullable(),
})

/** The commands that begin and end sessions that are kept, and say whose one is. */
export function addLoggingIn(program: Command): void {
  program
    .command('login')
    .description('log in, and keep the session in a profile')
    .example('--url https://id.your-company.com')
    .example('--profile acme --tenant acme --email ada@acme.test --password-stdin < password.txt')
    .option('--tenant <subdomain>', 'as a user of a tenant; default: as an operator of the platform', subdomain)
    .option('--email <address>', 'who logs in; default: it is asked')
    .option('--password-stdin', 'read the password from stdin, for scripts; default: it is asked, and not shown')
    .addHelpText(
      'after',
      `
The profile is --profile, FREEHOLD_PROFILE, the one in use, or "default"; the first one is in use from then on. A login with a profile that
exists needs neither --url nor --tenant, and ends its former session. A password that must be changed is changed at once.

Profiles are files of mode 0600 in $XDG_CONFIG_HOME/freehold, ~/.config/freehold, or on Windows %APPDATA%\\freehold. They hold the
session's tokens and no password. Settings of the environment that name a token or a password win over them.`,
    )
    .action((_, command: Command) => logIn(command.optsWithGlobals<Wanted>()))

  program
    .command('logout')
    .description('end the session of a profile, and remove the profile')
    .example()
    .example('--profile acme')
    .action((_, command: Command) => logOut(command.optsWithGlobals<Globals>()))

  program
    .command('whoami')
    .description('show as whom commands are run, and where')
    .example()
    .option('--tenant <subdomain>', 'those that work inside this tenant', subdomain)
    .action((_, command: Command) => whoAmI(command.optsWithGlobals<Globals & { tenant?: string }>()))
}

async function logIn(options: Wanted): Promise<void> {
  const name = askedProfile(options) ?? (await currentName()) ?? 'default'
  const known = await readProfile(name)
  const url = options.url ?? known?.url ?? DEFAULT_URL
  const tenant = options.tenant ?? known?.tenant ?? null
  if (known && (known.url !== url || known.tenant !== tenant))
    throw new WrongUsage(
      `The profile ${name} is ${known.tenant === null ? 'of the platform' : `of the tenant ${known.tenant}`} at ${known.url}: name another with --profile, or end this one first: freehold logout --profile ${name}.`,
    )
  requireEncryption(url, known && options.url === undefined ? `The profile ${name}` : '--url or FREEHOLD_URL', options)
  const plane = planeOf({ url, tenant })
  const { email, password } = await asked(options, known)
  const who = email.includes('@') ? { email } : { username: email }
  const device_token = known?.email === email && known.device_token ? known.device_token : undefined
  const entered = await send(plane, 'POST', '/auth/login', { body: { ...who, password, device_token }, token: null })
  const challenge = Challenge.safeParse(entered)
  const answer = challenge.success ? await secondStep(plane, challenge.data) : entered
  const tokens = shaped(plane, Tokens, answer)
  const profile = withTokens(
    { name, url, tenant, email, access_token: '', refresh_token: '', expires_at: 0, device_token: null },
    tokens,
  )
  try {
    if (tokens.must_change_password) await choosePassword(plane, tokens.access_token, password)
    // The session before would count against the user's limit until it ends by itself. It ends before the new tokens are written:
    // whoever renews an old token reads the profile, and would end the new session.
    if (known) await endSession(known).catch(() => undefined)
    await withLock(name, () => writeProfile(profile))
  } catch (error) {
    // Nobody has its tokens, and it would go on for weeks.
    await send(plane, 'POST', '/auth/logout', { token: tokens.access_token }).catch(() => undefined)
    throw error
  }
  const inUse = await currentName()
  if (inUse === null) await useProfile(name)
  const facts = { profile: name, url, tenant, email, is_current: (inUse ?? name) === name }
  if (options.json) return printJson(facts)
  tell(`${plain(email)} is logged in at ${where(profile)}. The profile is ${name}.`)
  if (!facts.is_current)
    tell(`Commands use the profile ${inUse}: name this one with --profile ${name}, or freehold profiles use ${name}.`)
  const prefix = tenant === null ? 'FREEHOLD' : 'FREEHOLD_TENANT'
  const winning = [`${prefix}_TOKEN`, `${prefix}_EMAIL`, `${prefix}_PASSWORD`].find((setting) => process.env[setting])
  if (winning) tell(`${winning} is set in the environment, and wins over profiles.`)
}

const where = ({ url, tenant }: Pick<Named, 'url' | 'tenant'>) => (tenant === null ? url : `${tenant} of ${url}`)

/** E-mail and password, as they are given or asked for. */
async function asked({ email, passwordStdin }: Wanted, known: Named | null): Promise<{ email: string; password: string }> {
  if (passwordStdin) {
    const name = email ?? known?.email
    if (name === undefined) throw new WrongUsage('With --password-stdin give --email, too.')
    const password = (await text(process.stdin)).replace(/\r?\n$/, '')
    if (password === '') throw new Failure('stdin is empty, and should have the password.')
    return { email: name, password }
  }
  if (!isAsked()) throw new WrongUsage('There is no terminal to ask on: give --email, and the password with --password-stdin.')
  const suggested = known ? ` (${known.email})` : ''
  const name = email ?? ((await ask(`E-mail${suggested}: `)).trim() || known?.email)
  if (!name) throw new Failure('No e-mail was entered.')
  return { email: name, password: await ask('Password: ', { hidden: true }) }
}

/** Asks for the second factor, or for the code that was mailed for a risky login, and ends the login with it. */
async function secondStep(plane: Plane, { mfa_token, methods }: z.infer<typeof Challenge>) {
  const is_mailed = methods.includes('email_code')
  if (!isAsked())
    throw new Failure(
      is_mailed
        ? 'This login is unusual for the user, who was mailed a code: log in on a terminal.'
        : `This user has a second factor: log in on a terminal, or with an API key in place of a login, for what is no person.`,
      'mfa_required',
    )
  const verify = (proof: object) => send(plane, 'POST', '/auth/mfa/verify', { body: { mfa_token, ...proof }, token: null })
  if (is_mailed) tell('This login is unusual for this account: a code was mailed to its address.')
  while (is_mailed) {
    const email_code = (await ask('Code of the mail, or nothing to have another one mailed: ')).trim()
    if (email_code) return verify({ email_code })
    try {
      await send(plane, 'POST', '/auth/mfa/resend', { body: { mfa_token }, token: null })
      tell('Another code was mailed. The one before does not work any more.')
    } catch (error) {
      // Too soon, or the last one: the code that there is goes on working.
      if (!(error instanceof ApiProblem && [409, 429].includes(error.status))) throw error
      tell(plain(error.problem.detail ?? error.message))
    }
  }
  const typed = (await ask('Code of the authenticator app, or a backup code: ')).trim()
  return verify(/^\d{3} ?\d{3}$/.test(typed) ? { code: typed } : { backup_code: typed })
}

/** Has a first password changed, which its session may do and nothing else. */
async function choosePassword(plane: Plane, token: string, current_password: string): Promise<void> {
  if (!isAsked())
    throw new Failure(
      `The password must be changed first: log in on a terminal, or POST ${plane.base}/auth/password-change {current_password, new_password}.`,
      'password_change_required',
    )
  tell('The password must be changed before anything else.')
  const new_password = await ask('New password: ', { hidden: true })
  if ((await ask('The same again: ', { hidden: true })) !== new_password) throw new Failure('They differ: nothing was changed.')
  await send(plane, 'POST', '/auth/password-change', { body: { current_password, new_password }, token })
}

async function logOut(options: Globals): Promise<void> {
  const name = askedProfile(options) ?? (await currentName())
  const profile = name === null ? null : await readProfile(name)
  if (!profile) throw new Failure(name === null ? 'Nobody is logged in.' : `There is no profile ${plain(name)}.`, 'not_logged_in')
  requireEncryption(profile.url, `The profile ${profile.name}`, options)
  const was = await endSession(profile).catch((error: Failure) => {
    if (error.code === 'session_ended') return false
    throw new Failure(
      `The session was not ended, and the profile stays: ${error.message}\nTo forget it on this machine alone: freehold profiles remove ${profile.name}.`,
      error.code,
    )
  })
  await withLock(profile.name, () => removeProfile(profile.name))
  if (options.json) printJson({ profile: profile.name, session: was ? 'ended' : 'had_ended' })
  else tell(`${plain(profile.email)} is logged out of ${where(profile)}${was ? '' : ', where the session had ended already'}.`)
}

/** Ends the session of a profile. Fails with `session_ended` where it had ended. */
async function endSession(profile: Named): Promise<boolean> {
  const plane = planeOf(profile)
  const bearer = bearerWith(plane, { profile })
  try {
    await send(plane, 'POST', '/auth/logout', { token: await bearer.token() })
    return true
  } catch (error) {
    throw bearer.explain(error)
  }
}

async function whoAmI(options: Globals & { tenant?: string }): Promise<void> {
  const connection = options.tenant === undefined ? await anyOperator(options) : await tenantConnection(options, options.tenant)
  const found = await connected(options, connection, (api) => api.call(WhoAmI, 'GET', '/auth/whoami'))
  const { credentials, url } = connection
  const profile = 'profile' in credentials ? credentials.profile.name : null
  if (options.json) return printJson({ ...found, profile, platform: url })
  print(
    pairs([
      ['user', found.username],
      ['of', connection.tenant === null ? 'the platform' : `the tenant ${connection.tenant}`],
      ['at', url],
      ['roles', found.roles.join(', ') || '-'],
      ['permissions', String(found.permissions.length)],
      ['by', profile === null ? 'the environment' : `the profile ${profile} in ${configFolder()}`],
      ['session until', found.session?.expires_at ?? '-'],
    ]),
  )
}

function subdomain(given: string): string {
  const parsed = Label.safeParse(given.toLowerCase())
  if (!parsed.success) throw new WrongUsage('--tenant: it must be the subdomain of a tenant.')
  return parsed.data
}
