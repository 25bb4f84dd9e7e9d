import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { Failure, WrongUsage } from './failure.ts'
import { DATA, DEFAULT_URL, type Globals, isLoopback } from './options.ts'
import { plain } from './output.ts'
import { currentName, type Named, profileNames, readProfile } from './profiles.ts'

/** The credentials of a call. `from` is where the password was found, for error messages. */
export type Credentials = { token: string } | { email: string; password: string; from: string } | { profile: Named }
/** Where calls go, and as whom. `tenant` null: the platform. `setting` is where the address comes from. */
export type Connection = { url: string; setting: string; tenant: string | null; credentials: Credentials }

/** Help text of the commands that call the platform API. */
export const CREDENTIAL_SETTINGS = `
The first of these is used:
  FREEHOLD_TOKEN                    an operator's access token, or
  FREEHOLD_EMAIL, FREEHOLD_PASSWORD an operator's e-mail and password; with --url, FREEHOLD_URL or http://localhost:8787
  --profile, FREEHOLD_PROFILE, or the profile of \`freehold profiles use\`
                                    an operator who is logged in, and their platform; see: freehold login. Where the profile in use
                                    is of a tenant, the one profile of an operator of that platform
  the operator of a local \`npm start\` (see --data), at a loopback address
Addresses must be https://, unless it is this machine or with --insecure.`

/** Help text of the commands that work inside a tenant. */
export const TENANT_CREDENTIAL_SETTINGS = `
The first of these is used:
  FREEHOLD_TENANT_TOKEN               an access token of a user of the tenant, or
  FREEHOLD_TENANT_EMAIL, FREEHOLD_TENANT_PASSWORD
                                      that user's e-mail and password; with --url, FREEHOLD_URL or http://localhost:8787
  --profile, FREEHOLD_PROFILE, or the profile of \`freehold profiles use\`
                                      a user of the tenant who is logged in; see: freehold login --tenant. Where the profile in use is
                                      of somebody else at that platform, the one profile of the tenant
Addresses must be https://, unless it is this machine or with --insecure.`

const Kept = z.object({ operator: z.object({ email: z.string(), password: z.string() }) })

const SETTING = '--url or FREEHOLD_URL'
const OPERATOR = 'freehold login, or set FREEHOLD_TOKEN, or FREEHOLD_EMAIL and FREEHOLD_PASSWORD'

/**
 * Where an operator's calls go: by the environment, a profile, or what `npm start` keeps for a platform on this machine. Where the
 * profile in use is of a tenant, and nobody named it: the one profile of an operator of the same platform, or what `npm start` keeps.
 */
export async function operatorConnection(globals: Globals): Promise<Connection> {
  const connection = await anyOperator(globals)
  if (connection.tenant === null) return connection
  const { url, setting } = connection
  const others = askedProfile(globals) === null ? await profilesAt(url, null) : []
  const [only, another] = others
  if (only && !another) return ofProfile(only)
  const isHere = askedProfile(globals) === null && !another && isLoopback(new URL(url).hostname)
  const kept = isHere ? await keptFor(url, DATA).catch(() => null) : null
  if (kept) return { url, setting, tenant: null, credentials: kept }
  const ways = [
    another ? `name one of ${others.map(({ name }) => name).join(', ')} with --profile` : 'name another with --profile',
    ...(isLoopback(new URL(url).hostname) ? ['the data folder of `npm start` with --data'] : []),
    `or log in: freehold login --profile platform --url ${url}`,
  ]
  throw new Failure(
    `The profile ${profileOf(connection)} is of the tenant ${connection.tenant}, and this is for operators of the platform: ${ways.join(', ')}.`,
  )
}

/** The profiles of a platform: of operators (null), or of the users of a tenant. One that cannot be read is passed over. */
async function profilesAt(url: string, tenant: string | null): Promise<Named[]> {
  const profiles = await Promise.all((await profileNames()).map((name) => readProfile(name).catch(() => null)))
  return profiles.filter((profile) => profile !== null && profile.url === url && profile.tenant === tenant) as Named[]
}

/** As operatorConnection, or that of a tenant where the profile is of one. */
export async function anyOperator(globals: Globals): Promise<Connection> {
  const given = ofEnvironment('FREEHOLD', globals)
  const url = globals.url ?? DEFAULT_URL
  if (given) return { url, setting: SETTING, tenant: null, credentials: given }
  // Whoever names the folder of an `npm start` means that platform, and not the profile in use.
  const isLocal = globals.data !== undefined && askedProfile(globals) === null
  const profile = isLocal ? null : await chosenProfile(globals)
  if (profile) return ofProfile(profile)
  return { url, setting: SETTING, tenant: null, credentials: await keptFor(url, globals.data ?? DATA) }
}

/** Where calls of a user of a tenant go: by the environment, or a profile. `tenant` null: that of the profile. */
export async function tenantConnection(globals: Globals, tenant: string | null): Promise<Connection> {
  const given = ofEnvironment('FREEHOLD_TENANT', globals)
  if (given) {
    if (tenant === null) throw new WrongUsage('Name the tenant with --tenant.')
    return { url: globals.url ?? DEFAULT_URL, setting: SETTING, tenant, credentials: given }
  }
  const profile = await chosenProfile(globals)
  const wanted = tenant ?? '<subdomain>'
  if (!profile)
    throw new Failure(
      `Log in with freehold login --tenant ${wanted}, or set FREEHOLD_TENANT_TOKEN, or FREEHOLD_TENANT_EMAIL and FREEHOLD_TENANT_PASSWORD.`,
      'not_logged_in',
    )
  if (profile.tenant !== null && (tenant === null || profile.tenant === tenant)) return ofProfile(profile)
  const [only, another] = tenant !== null && askedProfile(globals) === null ? await profilesAt(profile.url, tenant) : []
  if (only && !another) return ofProfile(only)
  const whose = profile.tenant === null ? 'an operator of the platform' : `the tenant ${profile.tenant}`
  throw new Failure(
    `The profile ${profile.name} is of ${whose}, and this needs a user of ${tenant ?? 'a tenant'}: name another with --profile, or log in: freehold login --profile ${tenant ?? '<name>'} --tenant ${wanted} --url ${profile.url}.`,
  )
}

const profileOf = ({ credentials }: Connection) => ('profile' in credentials ? credentials.profile.name : '')
const ofProfile = (profile: Named): Connection => ({
  url: profile.url,
  setting: `The profile ${profile.name}`,
  tenant: profile.tenant,
  credentials: { profile },
})

/** The name of a profile that was asked for, or null. */
export const askedProfile = ({ profile }: Globals): string | null => profile ?? (process.env.FREEHOLD_PROFILE || null)

/**
 * The profile that was asked for, or the one in use where it is for the address that was given. Fails where the two do not agree: tokens
 * never go to another platform than their own.
 */
async function chosenProfile(globals: Globals): Promise<Named | null> {
  const asked = askedProfile(globals)
  const name = asked ?? (await currentName())
  const profile = name === null ? null : await readProfile(name)
  if (asked !== null && !profile)
    throw new Failure(
      `There is no profile ${plain(asked)}: see freehold profiles, or log in with freehold login --profile ${plain(asked)}.`,
      'not_logged_in',
    )
  if (!profile || globals.url === undefined || globals.url === profile.url) return profile
  if (asked === null) return null
  throw new WrongUsage(
    `The profile ${profile.name} is for ${profile.url}, and ${SETTING} names ${globals.url}: give one of the two.`,
  )
}

/** Whether calls would be made with credentials of the environment or a profile, and not with what `npm start` keeps. */
export async function isLoggedIn(globals: Globals): Promise<boolean> {
  if (ofEnvironment('FREEHOLD', globals)) return true
  if (globals.data !== undefined && askedProfile(globals) === null) return false
  const profile = await chosenProfile(globals)
  return profile !== null && (profile.tenant === null || (await profilesAt(profile.url, null)).length > 0)
}

/** What a local `npm start` keeps of its operator. */
async function keptFor(url: string, dataDir: string): Promise<Credentials> {
  // Never sent to another machine: it would learn the password of this machine's operator.
  if (!isLoopback(new URL(url).hostname)) throw new Failure(`Log in with ${OPERATOR}.`, 'not_logged_in')
  const file = join(dataDir, 'credentials.json')
  const text = await readFile(file, 'utf8').catch(() => null)
  if (text === null)
    throw new Failure(
      `Log in with ${OPERATOR}, or name the data folder of \`npm start\` with --data (${file} cannot be read).`,
      'not_logged_in',
    )
  const kept = Kept.safeParse(parsed(text))
  if (!kept.success) throw new Failure(`${file} is not what \`npm start\` writes. Log in with ${OPERATOR}.`, 'not_logged_in')
  return { ...kept.data.operator, from: file }
}

/** Credentials of the environment win over profiles. Fails where a profile was asked for as well: one of them is meant for elsewhere. */
function ofEnvironment(prefix: string, { profile }: Globals): Credentials | null {
  const { [`${prefix}_TOKEN`]: text, [`${prefix}_EMAIL`]: email, [`${prefix}_PASSWORD`]: password } = process.env
  if (profile !== undefined && (text?.trim() || email || password))
    throw new WrongUsage(
      `--profile and ${prefix}_${text?.trim() ? 'TOKEN' : email ? 'EMAIL' : 'PASSWORD'} are both given: unset the setting, or leave the profile out.`,
    )
  const token = text?.trim()
  if (token) {
    if (!/^[\x21-\x7e]+$/.test(token)) throw new Failure(`${prefix}_TOKEN is not an access token.`)
    return { token }
  }
  const both = `${prefix}_EMAIL and ${prefix}_PASSWORD`
  if (email && password) return { email, password, from: both }
  if (email || password) throw new Failure(`${both} belong together: only one of them is set.`)
  return null
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}
