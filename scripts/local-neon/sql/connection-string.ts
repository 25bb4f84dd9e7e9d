import { isIP } from 'node:net'
import { Refusal } from './refusal.ts'

export interface Target {
  /** The first label of the host, without `-pooler`. */
  endpoint: string
  database: string
  user: string
  password: string
}

/** Reads the `Neon-Connection-String` header. Checks in the same order as Neon. */
export function readTarget(header: string | string[] | undefined): Target {
  if (typeof header !== 'string') throw new Refusal('invalid header: neon-connection-string')
  const url = parse(header)
  if (url.protocol !== 'postgres:' && url.protocol !== 'postgresql:') throw new Refusal('incorrect scheme')
  if (!url.pathname.startsWith('/')) throw new Refusal('missing database name')
  const database = decode(url.pathname.slice(1).split('/')[0] ?? '')
  const user = decode(url.username)
  if (user === '') throw new Refusal('missing username')
  const password = decode(url.password)
  if (password === '') throw new Refusal('missing authentication credentials: required password')
  const host = url.hostname
  if (host === '' || isIP(host) || host.startsWith('[')) throw new Refusal('missing hostname')
  const endpoint = (host.split('.')[0] ?? '').replace(/-pooler$/, '')
  return { endpoint, database, user, password }
}

function parse(text: string) {
  try {
    return new URL(text)
  } catch {
    throw new Refusal('invalid connection string: relative URL without a base')
  }
}

function decode(part: string) {
  try {
    return decodeURIComponent(part)
  } catch {
    throw new Refusal('invalid connection string: the part cannot be decoded')
  }
}
