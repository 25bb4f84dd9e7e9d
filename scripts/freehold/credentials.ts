import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { Failure } from './failure.ts'
import { isLoopback } from './options.ts'

/** The credentials of the CLI. `from` is where the password was found, for error messages. */
export type Credentials = { token: string } | { email: string; password: string; from: string }

/** Help text of the commands that call the platform API. */
export const CREDENTIAL_SETTINGS = `
Settings of the environment:
  FREEHOLD_URL                      address of the platform; --url overrides it; https://, unless it is this machine or with --insecure
  FREEHOLD_TOKEN                    an operator's access token, or
  FREEHOLD_EMAIL, FREEHOLD_PASSWORD an operator's e-mail and password
Without them, at a loopback address: the operator of a local \`npm start\` (see --data).`

/** Help text of the commands that work inside a tenant. */
export const TENANT_CREDENTIAL_SETTINGS = `
Settings of the environment:
  FREEHOLD_URL                        address of the platform; --url overrides it; https://, unless it is this machine or with --insecure
  FREEHOLD_TENANT_TOKEN               an access token of a user of the tenant, or
  FREEHOLD_TENANT_EMAIL, FREEHOLD_TENANT_PASSWORD
                                      that user's e-mail and password`

const Kept = z.object({ operator: z.object({ email: z.string(), password: z.string() }) })

/** The credentials in the environment, or for a platform on this machine those that `npm start` keeps. */
export async function credentialsFor(url: string, dataDir: string): Promise<Credentials> {
  const given = ofEnvironment('FREEHOLD')
  if (given) return given
  const needed = 'Set FREEHOLD_TOKEN, or FREEHOLD_EMAIL and FREEHOLD_PASSWORD'
  // Never sent to another machine: it would learn the password of this machine's operator.
  if (!isLoopback(new URL(url).hostname)) throw new Failure(`${needed}.`)
  const file = join(dataDir, 'credentials.json')
  const text = await readFile(file, 'utf8').catch(() => null)
  if (text === null)
    throw new Failure(`${needed}, or name the data folder of \`npm start\` with --data (${file} cannot be read).`)
  const kept = Kept.safeParse(parsed(text))
  if (!kept.success) throw new Failure(`${file} is not what \`npm start\` writes. ${needed}.`)
  return { ...kept.data.operator, from: file }
}

/** The credentials of a user of a tenant, from the environment only. */
export function tenantCredentials(): Credentials {
  const given = ofEnvironment('FREEHOLD_TENANT')
  if (!given) throw new Failure('Set FREEHOLD_TENANT_TOKEN, or FREEHOLD_TENANT_EMAIL and FREEHOLD_TENANT_PASSWORD.')
  return given
}

function ofEnvironment(prefix: string): Credentials | null {
  const { [`${prefix}_TOKEN`]: text, [`${prefix}_EMAIL`]: email, [`${prefix}_PASSWORD`]: password } = process.env
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
