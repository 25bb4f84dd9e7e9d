/**
 * A connection string that an operator gives. Threat: it makes the Worker send requests, with a password in them, to a host that nobody
 * meant: an address inside of a network, a name that only looks like Neon's, a host that a parameter names. The driver asks the host
 * whose first label is replaced by `api`; so the host must be below a domain of EXTERNAL_HOSTS, and what is kept is made anew from the parts
 * that were checked. And a password must not go through a network that can read it.
 */
import type { Config } from '../../kernel/config.ts'
import { invalid } from '../../kernel/problem.ts'

/** What a connection string names. */
export type Connection = {
  /** Made of the parts below, with the password. */
  url: string
  host: string
  database: string
  user: string
  /** host/database: the same for all connection strings of one database. */
  address: string
  region: string
}

const FIELD = 'connection_string'
const PLAIN_TEXT = ['disable', 'allow', 'prefer']
const LABEL = '[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?'
const NAME = new RegExp(`^(${LABEL}\\.)+${LABEL}$`)

/** Reads it. No round trip. Fails with invalid_request, in words that hold neither the password nor what could be one. */
export function readConnectionString(config: Pick<Config, 'ENVIRONMENT' | 'EXTERNAL_HOSTS'>, text: string): Connection {
  const parts = partsOf(text)
  if (!parts) throw invalid(FIELD, 'must be a connection string of Postgres, with user, password, host and database')
  const { given, user, password, database } = parts
  const mode = given.searchParams.get('sslmode')
  if (mode && PLAIN_TEXT.includes(mode) && config.ENVIRONMENT !== 'local')
    throw invalid(FIELD, `has sslmode=${mode}, which lets the network read the password: use sslmode=require`)
  if (given.port && given.port !== '5432') throw invalid(FIELD, 'must have the port 5432, or none, as those of Neon')
  const { host, region } = hostOf(config, given.hostname)
  const url = new URL(`postgresql://${host}/?sslmode=require`)
  Object.assign(url, { username: encodeURIComponent(user), password: encodeURIComponent(password) })
  url.pathname = `/${encodeURIComponent(database)}`
  return { url: url.href, host, database, user, address: `${host}/${database}`, region }
}

/** The parts, decoded; null where one is missing, or cannot be one. */
function partsOf(text: string) {
  const given = URL.canParse(text) ? new URL(text) : null
  if (!given || !/^postgres(ql)?:$/.test(given.protocol) || given.hash) return null
  try {
    const [user, password, database] = [given.username, given.password, given.pathname.slice(1)].map(decodeURIComponent)
    const is_name = (name: string | undefined) => name && !/[\p{Cc}/]/u.test(name) && new TextEncoder().encode(name).length <= 63
    return user && password && database && is_name(user) && is_name(database) ? { given, user, password, database } : null
  } catch {
    // Malformed percent-encoding.
    return null
  }
}

/** The name of the endpoint, without `-pooler`, and the region in it: ep-calm-sea-a1b2.eu-central-1.aws.neon.tech is in aws-eu-central-1. */
function hostOf({ EXTERNAL_HOSTS }: Pick<Config, 'EXTERNAL_HOSTS'>, given: string) {
  const host = given.toLowerCase()
  const domain = EXTERNAL_HOSTS.find((one) => NAME.test(host) && host.endsWith(`.${one}`))
  if (!domain)
    throw invalid(
      FIELD,
      `names the host ${host}, which is not below ${EXTERNAL_HOSTS.join(' or ')}: EXTERNAL_HOSTS has the domains whose hosts speak Neon’s SQL over HTTP`,
    )
  const [, region, platform] = /([^.]+)\.([^.]+)$/.exec(host.slice(0, -domain.length - 1)) ?? []
  return { host: host.replace(/^([^.]+?)-pooler\./, '$1.'), region: platform ? `${platform}-${region}` : 'external' }
}
