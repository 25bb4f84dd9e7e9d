/**
 * Profiles: who is logged in where, in one file each, `profiles/<name>.json` in the user's folder of configuration.
 *
 * Threat: another user of the machine reads a refresh token, and is that operator for as long as the session lasts. So files are 0600
 * and folders 0700, a file that others can read is not used, and tokens go to the address of their profile alone. Whoever runs programs
 * as the same user, or reads their backups, has the tokens.
 */
import { randomUUID } from 'node:crypto'
import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { isAbsolute, join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { InvalidArgumentError } from 'commander'
import { z } from 'zod'
import { Failure } from './failure.ts'

const Profile = z.object({
  url: z.url(),
  /** The subdomain; null: an operator of the platform. */
  tenant: z.string().nullable(),
  email: z.string(),
  access_token: z.string(),
  refresh_token: z.string(),
  /** When the access token ends, in milliseconds of this machine's clock. A hint: the platform decides. */
  expires_at: z.number(),
  /** Of the last login, sent with the next one. */
  device_token: z.string().nullable(),
})
export type Profile = z.infer<typeof Profile>
export type Named = Profile & { name: string }

const NAME = /^[a-z0-9][a-z0-9-]{0,31}$/
/**
 * A lock that is older was left by a process that was killed: an exchange of tokens takes 30 s at most. Less than the minute in which the
 * platform gives the same tokens for the same refresh token, so that whoever comes next loses nothing.
 */
const STALE_MS = 35_000
const LOOK_MS = 25
/** How often Windows may say that a file is in use. */
const MOST_REFUSALS = 80

/** The folder of the CLI's files: that of the XDG Base Directory Specification; of Windows, %APPDATA%. */
export function configFolder(): string {
  const { XDG_CONFIG_HOME = '', APPDATA } = process.env
  if (isAbsolute(XDG_CONFIG_HOME)) return join(XDG_CONFIG_HOME, 'freehold')
  return join(process.platform === 'win32' && APPDATA ? APPDATA : join(homedir(), '.config'), 'freehold')
}

const folder = () => join(configFolder(), 'profiles')
const fileOf = (name: string) => join(folder(), `${name}.json`)
const currentFile = () => join(configFolder(), 'current')

/** A parser of names. */
export function profileName(text: string): string {
  if (!NAME.test(text)) throw new InvalidArgumentError('It must be 1-32 of a-z, 0-9 and hyphens, and not begin with a hyphen.')
  return text
}

/** A profile, or null. Fails where others can read it, or where it is not one. */
export async function readProfile(name: string): Promise<Named | null> {
  if (!NAME.test(name)) return null
  const file = fileOf(name)
  const handle = await open(file, 'r').catch(orNull)
  if (!handle) return null
  try {
    await requirePrivateFolders()
    requirePrivate(await handle.stat(), file, 600)
    const profile = Profile.safeParse(json(await handle.readFile('utf8')))
    if (!profile.success) throw new Failure(`${file} is not a profile: remove it, and log in again.`, 'profile_unreadable')
    return { ...profile.data, name }
  } finally {
    await handle.close()
  }
}

/** Writes a profile: all of it, or nothing when the machine goes off meanwhile. */
export async function writeProfile({ name, ...profile }: Named): Promise<void> {
  await makeFolders()
  await replace(fileOf(name), `${JSON.stringify(Profile.parse(profile), null, 2)}\n`)
}

/** Forgets a profile. Returns whether there was one. */
export async function removeProfile(name: string): Promise<boolean> {
  const was = await rm(fileOf(name)).then(() => true, orNull)
  if (was && (await readFile(currentFile(), 'utf8').catch(orNull))?.trim() === name) await rm(currentFile(), { force: true })
  return was === true
}

/** The names of all profiles, sorted. */
export async function profileNames(): Promise<string[]> {
  const files = (await readdir(folder()).catch(orNull)) ?? []
  return files
    .flatMap((file) => (file.endsWith('.json') ? file.slice(0, -5) : []))
    .filter((name) => NAME.test(name))
    .sort()
}

/** The name of the profile that is used where none is named, or null. */
export async function currentName(): Promise<string | null> {
  const name = (await readFile(currentFile(), 'utf8').catch(orNull))?.trim() ?? null
  return name !== null && (await profileNames()).includes(name) ? name : null
}

export async function useProfile(name: string): Promise<void> {
  await makeFolders()
  await replace(currentFile(), `${name}\n`)
}

/** Runs `work` while no other process of this user does so for the same profile. */
export async function withLock<T>(name: string, work: () => Promise<T>): Promise<T> {
  await makeFolders()
  const file = join(folder(), `${name}.lock`)
  let refusals = 0
  for (;;) {
    const handle = await open(file, 'wx', 0o600).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'EEXIST') return null
      // Windows says so of a file that is just being removed, also.
      if (isBusy(error) && ++refusals < MOST_REFUSALS) return null
      throw unwritable(error)
    })
    await handle?.close()
    if (handle) break
    const made = await stat(file).catch(orNull)
    // Two that remove it at once do no harm, for the same reason.
    if (made && Date.now() - made.mtimeMs > STALE_MS) await rm(file, { force: true })
    else await pause(LOOK_MS)
  }
  try {
    return await work()
  } finally {
    await rm(file, { force: true })
  }
}

/** Replaces a file by one that its owner alone can read. */
async function replace(file: string, text: string): Promise<void> {
  const made = `${file}.${randomUUID()}.new`
  try {
    const handle = await open(made, 'wx', 0o600)
    try {
      await handle.writeFile(text)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await renamed(made, file)
  } catch (error) {
    await rm(made, { force: true }).catch(() => undefined)
    throw unwritable(error as Error)
  }
}

/** On Windows a file cannot be replaced while somebody reads it, which takes a moment. */
async function renamed(made: string, file: string): Promise<void> {
  for (let refusals = 0; ; refusals++)
    try {
      return await rename(made, file)
    } catch (error) {
      if (!isBusy(error as NodeJS.ErrnoException) || refusals === MOST_REFUSALS) throw error
      await pause(LOOK_MS)
    }
}

const isBusy = ({ code = '' }: NodeJS.ErrnoException) =>
  process.platform === 'win32' && ['EPERM', 'EACCES', 'EBUSY'].includes(code)

async function makeFolders(): Promise<void> {
  await mkdir(folder(), { recursive: true, mode: 0o700 }).catch((error) => {
    throw unwritable(error)
  })
  await requirePrivateFolders()
}

async function requirePrivateFolders(): Promise<void> {
  for (const path of [configFolder(), folder()]) requirePrivate(await stat(path), path, 700)
}

function requirePrivate({ mode }: { mode: number }, path: string, chmod: number): void {
  // Windows has no such bits: the folder of the user is theirs.
  if (process.platform === 'win32' || (mode & 0o077) === 0) return
  throw new Failure(
    `${path} can be read or written by other users of this machine, and is not used: run chmod ${chmod} ${path}. If somebody may have read it, log out and in again.`,
    'profile_not_private',
  )
}

const unwritable = (error: Error) =>
  new Failure(`Profiles cannot be kept in ${configFolder()}: ${error.message}`, 'profile_unwritable')

function orNull(error: NodeJS.ErrnoException): null {
  if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return null
  throw new Failure(`Profiles cannot be read in ${configFolder()}: ${error.message}`, 'profile_unreadable')
}

function json(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}
