/**
 * The registry maps a subdomain to its tenant, database and signing keys. Threat: a stale or foreign entry sends a request to the
 * wrong database. The master is authoritative and KV a copy that may be a minute old, so every entry has a version that only
 * grows and an older one never replaces a newer one; secrets are encrypted for their tenant and field; and the tenant's own
 * database checks last whose it is and whether it is active (access.check_tenant).
 */
import { sql } from 'drizzle-orm'
import type { Config } from '../../kernel/config.ts'
import type { Realm } from '../../kernel/context.ts'
import { batch } from '../../kernel/db.ts'
import type { Env, Meter } from '../../kernel/env.ts'
import { decrypt } from '../../kernel/keyring.ts'
import { log } from '../../kernel/log.ts'
import { type SigningKey, systemKeyOf } from '../../kernel/token.ts'
import { tenantUrl } from '../../names/hosts.ts'
import { patternsIn } from '../../names/origins.ts'
import { isReserved } from '../../names/reserved.ts'
import { FORMER, FORMER_NAMES, type Former, type FormerName, isFormer, isKept } from './former.ts'
import type { LicenseState } from './limits.ts'
import { isAuthentic } from './signature.ts'

export type Status = 'provisioning' | 'active' | 'inactive' | 'failed' | 'deleted' | 'erasing'

/** A tenant in the registry. `database`, the refresh keys and private keys are encrypted. */
export type Entry = {
  v: number
  tenant_id: string
  subdomain: string
  /** Missing in entries that an earlier release wrote, as those that follow. */
  former_names?: FormerName[]
  legal_name: string
  /** Missing in entries that an earlier release wrote, and of the platform. */
  is_demo?: boolean
  /** Missing in entries that an earlier release wrote. */
  origins?: string[]
  origin_patterns?: unknown
  license?: LicenseState | null
  /** The newest migration of its database. Missing in entries that an earlier release wrote. */
  schema_version?: string | null
  status: Status
  database: string | null
  refresh_key: string | null
  /** The key before it, and from when on the new one is used (src/tenants/lifecycle/rotation.ts). Missing as `origins`. */
  former_refresh_key?: string | null
  refresh_key_from?: string | null
  signing_keys: { kid: string; public: SigningKey['public']; private: string; use_from: string }[]
}

/** An entry as stored in KV under `tenant:{subdomain}`: signed as a whole, so that write access to KV alone changes nothing. */
export type SignedEntry = Entry & { signature: string }
type Kept = (Entry | Former) & { signature: string }

const MEMORY_MS = 10_000
const [MISS_MS, RESERVED_MISS_MS] = [2_000, 60_000]
const [MEMORY_ENTRIES, MOST_UNKNOWN] = [1_000, 10_000]
const KV_CACHE_SECONDS = 60
/** How long a former refresh key is recognised: as long as the answer to a request with an Idempotency-Key is kept. */
const FORMER_KEY_MS = 24 * 60 * 60_000

/** `former`: the name is one that a tenant had; then there is no realm. */
type Found = { entry: Entry | Former | null; realm: Realm | null }
type Remembered = { at: number } & Found
const memory = new Map<string, Remembered>()
/** Names that the master did not know, and when. Apart from the others, which invented names would push out. */
const unknown = new Map<string, number>()
let given = 0

export const kvKey = (subdomain: string) => `tenant:${subdomain}`

const REFRESH_KEYS = sql`'refresh_key', t.refresh_key_encrypted, 'former_refresh_key', t.former_refresh_key_encrypted, 'refresh_key_from', t.refresh_key_from`

/** The columns of an entry, as JSON, from the master. */
export const ENTRY = sql`jsonb_build_object('v', t.v, 'tenant_id', t.id, 'subdomain', t.subdomain, 'former_names', ${FORMER_NAMES}, 'legal_name', t.legal_name, 'is_demo', t.environment = 'demo', 'status', t.status,
  'schema_version', t.schema_version, 'origins', coalesce(t.config -> 'origins', '[]'), 'origin_patterns', t.config -> 'origin_patterns', 'license', platform.license_of(t.id), 'database', t.app_url_encrypted, ${REFRESH_KEYS},
  'signing_keys', coalesce((select jsonb_agg(jsonb_build_object('kid', k.kid, 'public', k.public_jwk, 'private', k.private_jwk_encrypted, 'use_from', k.use_from) order by k.use_from)
    from platform.signing_keys k where k.realm_id = t.id), '[]'))`

export type Sources = { env: Env; config: Config; meter: Meter }
/** `limitUnknown` may fail before the master is asked for a name that nobody is known to have. */
type Asking = Sources & { limitUnknown?: () => void }

/** Says that a tenant was given this name, or has it again: a look-up that found nobody no longer counts. */
export function forgetUnknown(subdomain: string): void {
  unknown.delete(subdomain)
  given++
}

/** The login of look-ups, which anybody's request causes: it only reads. */
const registryOf = (config: Config) => config.MASTER_READER_URL

/** Who has a name. `renamed_to`: who had it, and has this name now. A tenant that is not active has no realm. */
export type LookedUp =
  | { status: Status; realm: Realm | null; renamed_to: null }
  | { status: null; realm: null; renamed_to: string }

const lookedUp = ({ entry, realm }: Found): LookedUp | null =>
  entry &&
  (isFormer(entry)
    ? { status: null, realm: null, renamed_to: entry.subdomain }
    : { status: entry.status, realm, renamed_to: null })

/**
 * Looks a subdomain up in memory (10 s; 2 s if not active or unknown, 60 s if unknown and reserved), then in KV, then in the master; with `fresh` in the master
 * alone. Null when no tenant has it or had it in the last 30 days.
 */
export async function lookUp(sources: Asking, subdomain: string, fresh = false): Promise<LookedUp | null> {
  const known = memory.get(subdomain)
  const age = Date.now() - (known?.at ?? 0)
  const is_settled = known?.realm || (known?.entry && isFormer(known.entry) && isKept(known.entry))
  if (known && !fresh && age < (is_settled ? MEMORY_MS : MISS_MS)) return lookedUp(known)
  const missed = Date.now() - (unknown.get(subdomain) ?? 0)
  // No tenant is given a reserved name. One that had it before it was reserved is found.
  const is_unknown = !fresh && missed >= 0 && missed < (isReserved(subdomain) ? RESERVED_MISS_MS : MISS_MS)
  const kept = fresh || is_unknown ? null : await fromKv(sources, subdomain, known?.entry?.v ?? 0)
  if (!fresh && !kept && !known) sources.limitUnknown?.()
  if (is_unknown) return null
  const before = given
  const found = newer(memory.get(subdomain), kept ?? (await fromMaster(sources, subdomain)))
  if (found.entry) remember(subdomain, { at: Date.now(), ...found })
  else forget(subdomain, before)
  return lookedUp(found)
}

/** The newer of two answers: another request may have stored a newer one meanwhile. */
const newer = (known: Found | undefined, asked: Found): Found =>
  known?.entry && asked.entry && known.entry.v > asked.entry.v ? { entry: known.entry, realm: known.realm } : asked

/** The entry in KV, if it is usable: of this name, active, not older than the known version, authentic. Otherwise null. */
async function fromKv({ env, config }: Sources, subdomain: string, floor: number): Promise<Found | null> {
  try {
    const entry = await env.TENANTS.get<Kept>(kvKey(subdomain), { type: 'json', cacheTtl: KV_CACHE_SECONDS })
    if (entry && isFormer(entry)) return entry.v < floor ? null : await formerIn(config, subdomain, entry)
    if (entry?.subdomain !== subdomain || entry.status !== 'active' || entry.v < floor) return null
    if (!(await isAuthentic(config, entry))) throw new Error('The signature is not of this entry.')
    return { entry, realm: await decrypted(config, entry) }
  } catch (error) {
    log('registry entry in KV is not usable', {
      tenant: subdomain,
      error: error instanceof Error ? error.message : String(error),
    })
    return null
  }
}

async function formerIn(config: Config, name: string, entry: Former & { signature: string }): Promise<Found | null> {
  if (entry.former !== name || !isKept(entry)) return null
  if (!(await isAuthentic(config, entry))) throw new Error('The signature is not of this entry.')
  return { entry, realm: null }
}

async function fromMaster({ config, meter }: Sources, subdomain: string): Promise<Found> {
  meter.master++
  const [rows] = await batch(registryOf(config), [
    sql`select ${ENTRY} as entry from platform.tenants t where t.subdomain = ${subdomain} and t.deleted_at is null
        union all select ${FORMER} from platform.subdomains n join platform.tenants t on t.id = n.tenant_id
          where n.name = ${subdomain} and n.until > now() and t.deleted_at is null`,
  ])
  const entry = (rows?.[0]?.entry as Entry | Former | undefined) ?? null
  if (entry && isFormer(entry)) return { entry, realm: null }
  return { entry, realm: entry?.status === 'active' ? await decrypted(config, entry) : null }
}

/** Remembers that nobody has a name, unless one was given since the master was asked: then it may have been this one. */
function forget(name: string, before: number) {
  memory.delete(name)
  unknown.delete(name)
  if (given !== before) return
  if (unknown.size >= MOST_UNKNOWN) unknown.delete(unknown.keys().next().value ?? '')
  unknown.set(name, Date.now())
}

function remember(name: string, value: Remembered) {
  memory.delete(name)
  if (memory.size >= MEMORY_ENTRIES) memory.delete(memory.keys().next().value ?? '')
  memory.set(name, value)
}

/**
 * Notes what a tenant's names say from now on where this isolate knows otherwise: of former names, and of one that it has again. What
 * KV or the master says is read next, and from KV nothing that is older.
 */
export function learn(entry: Entry, former: Former[]): void {
  const own = memory.get(entry.subdomain)?.entry
  const said = former.map((one): [string, Entry | Former] => [one.former, one])
  if (former.length || (own && isFormer(own))) said.push([entry.subdomain, entry])
  for (const [name, one] of said)
    if ((memory.get(name)?.entry?.v ?? 0) < one.v) remember(name, { at: 0, entry: one, realm: null })
}

/** The realm of an entry, with its secrets decrypted. */
async function decrypted(config: Config, entry: Entry): Promise<Realm> {
  const open = (field: string, secret: string | null) => decrypt(config.ENCRYPTION_KEYS, entry.tenant_id, field, secret ?? '')
  const keys = entry.signing_keys.map(async (key) => ({
    ...key,
    use_from: new Date(key.use_from).toISOString(),
    private: JSON.parse(await open(`signing_key:${key.kid}`, key.private)),
  }))
  const refresh_keys = await refreshKeysOf(entry, (secret) => open('refresh_key', secret))
  return {
    id: entry.tenant_id,
    subdomain: entry.subdomain,
    legal_name: entry.legal_name,
    is_demo: entry.is_demo ?? false,
    url: tenantUrl(config, entry.subdomain),
    former_urls: (entry.former_names ?? []).filter(isKept).map(({ name }) => tenantUrl(config, name)),
    origins: entry.origins ?? [],
    origin_patterns: patternsIn(entry.origin_patterns),
    license: entry.license ?? null,
    schema_version: entry.schema_version ?? null,
    database_url: entry.database ? await open('app_url', entry.database) : '',
    ...refresh_keys,
    system_key: await systemKeyOf(refresh_keys.refresh_key),
    keys: await Promise.all(keys),
  }
}

/**
 * The refresh key that is in use now, and the other one around a rotation. Every isolate knows both before the new one is used, and
 * for a day after.
 */
async function refreshKeysOf(entry: Entry, open: (secret: string | null) => Promise<string>) {
  const { former_refresh_key: former, refresh_key_from } = entry
  const since = Date.now() - Date.parse(refresh_key_from ?? '')
  const newest = await open(entry.refresh_key)
  if (!former || !(since < FORMER_KEY_MS)) return { refresh_key: newest, other_refresh_key: null }
  const known = await open(former)
  return since < 0 ? { refresh_key: known, other_refresh_key: newest } : { refresh_key: newest, other_refresh_key: known }
}

/** The platform's own realm, whose users are the operators: from memory (10 s, at this address) or the master. */
export async function platformRealm({ config, meter }: Omit<Sources, 'env'>, fresh = false): Promise<Realm> {
  const known = memory.get('')
  if (known?.realm?.url === config.BASE_URL.origin && !fresh && Date.now() - known.at < MEMORY_MS) return known.realm
  meter.master++
  const [rows] = await batch(registryOf(config), [
    sql`select jsonb_build_object('v', 0, 'tenant_id', t.id, 'subdomain', '', 'legal_name', 'Freehold', 'status', 'active', 'database', null, ${REFRESH_KEYS},
      'signing_keys', (select jsonb_agg(jsonb_build_object('kid', k.kid, 'public', k.public_jwk, 'private', k.private_jwk_encrypted, 'use_from', k.use_from))
        from platform.signing_keys k where k.realm_id = t.id)) as entry from platform.realm t`,
  ])
  const entry = rows?.[0]?.entry as Entry | undefined
  if (!entry) throw new Error('The master has no realm of the platform: run `npm run freehold -- setup`.')
  const realm: Realm = {
    ...(await decrypted(config, entry)),
    subdomain: null,
    url: config.BASE_URL.origin,
    database_url: config.MASTER_DATABASE_URL,
  }
  remember('', { at: Date.now(), entry, realm })
  return realm
}
