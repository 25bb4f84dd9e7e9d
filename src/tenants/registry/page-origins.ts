/**
 * Which pages may call a tenant by its settings, beside those that the registry lists. Threat: a stranger's page, or one that invents
 * origins, costs the tenant's database a look-up for each request; or a page goes on to call after its origin was removed. So an isolate
 * asks for the whole list, at most once in 2 s for each tenant, and what it says is nobody's credential: whether the caller may do
 * anything, the database decides as ever.
 */
import { sql } from 'drizzle-orm'
import type { AdmitsPage } from '../../http/plane.ts'
import { type Shared, share, unasked } from '../../http/shared.ts'
import type { Config } from '../../kernel/config.ts'
import type { Realm } from '../../kernel/context.ts'
import { build, connect, isWrongDatabase } from '../../kernel/db.ts'
import type { Meter } from '../../kernel/env.ts'
import { isLocal, isOwn, originFault, originIn } from '../../names/origins.ts'

/** Within which a change of the settings is felt by every isolate. */
const FRESH_MS = 2_000
/** The request itself comes after the look-up, and has a time of its own. */
const PATIENCE_MS = 5_000
const MOST_REALMS = 1_000
/** As in the settings. */
const MOST_CHARACTERS = 255

/** By the id of the realm. */
const memory = new Map<string, Shared<string[]>>()

/**
 * Tells whether pages of an origin may call a realm, by its settings. At most one round trip to its database in 2 s; none for the
 * origins of other tenants, those outside of what operators allow, and local pages of a demo tenant. A realm whose database does not
 * answer keeps what it said last; one that has an older schema has no origins but the registry's. `reload` is for a tenant that was moved.
 */
export const admitsPageOf =
  ({ config, meter }: { config: Config; meter: Meter }, reload: () => Promise<Realm | null>): AdmitsPage =>
  async (realm, origin, later) => {
    if (origin.length > MOST_CHARACTERS || originIn(origin) !== origin) return false
    if (realm.is_demo && isLocal(origin)) return isOwn(config, realm.subdomain, origin)
    if (originFault(config, realm, origin) !== null) return false
    const known = memory.get(realm.id) ?? unasked<string[]>([])
    if (!memory.has(realm.id)) remember(realm.id, known)
    const ask = async () => {
      meter.origins = (meter.origins ?? 0) + 1
      return originsOf(realm).catch(async (error: unknown) => {
        const fresh = isWrongDatabase(error) ? await reload().catch(() => null) : null
        const is_elsewhere = fresh?.id === realm.id && fresh.database_url !== realm.database_url
        return fresh && is_elsewhere ? originsOf(fresh).catch(() => known.value) : known.value
      })
    }
    return (await share(known, FRESH_MS, ask, later)).includes(origin)
  }

/** Its administrators chose them, so a tenant that is moved, and takes no writes meanwhile, says them too. */
async function originsOf({ id, database_url }: Realm): Promise<string[]> {
  const asked = build.execute(sql`select access.origins(${id}) as origins`)
  const [answer] = await connect(database_url, PATIENCE_MS, true).batch([asked])
  return (answer as unknown as { rows: { origins: string[] }[] }).rows[0]?.origins ?? []
}

function remember(id: string, value: Shared<string[]>): void {
  if (memory.size >= MOST_REALMS) memory.delete(memory.keys().next().value ?? '')
  memory.set(id, value)
}
