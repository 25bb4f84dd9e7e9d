/**
 * Which pages may call a tenant by its settings, beside those that the registry lists. Threat: a stranger's page, or one that invents
 * origins, costs the tenant's database a look-up for each request; or a page goes on to call after its origin was removed. So an isolate
 * asks for the whole list, at most once in 2 s for each tenant, and what it says is nobody's credential: whether the caller may do
 * anything, the database decides as ever.
 */
import { sql } from 'drizzle-orm'
import type { AdmitsPage } from '../../http/plane.ts'
import { share, sharedByRealm } from '../../http/shared.ts'
import type { Config } from '../../kernel/config.ts'
import type { Realm } from '../../kernel/context.ts'
import { build, connect, isWrongDatabase } from '../../kernel/db.ts'
import type { Meter } from '../../kernel/env.ts'
import { isLocal, isOwn, originFault, originIn } from '../../names/origins.ts'

/** Within which a change of the settings is felt by every isolate. */
const FRESH_MS = 2_000
/** The request itself comes after the look-up, and has a time of its own. Less than for how long others wait for it (http/shared.ts). */
const PATIENCE_MS = 3_000
const MOST_REALMS = 1_000
/** As in the settings. */
const MOST_CHARACTERS = 255

const memory = sharedByRealm<string[]>(MOST_REALMS, [])

/**
 * Tells whether pages of an origin may call a realm, by its settings. At most one round trip to its database in 2 s; none for the
 * origins of other tenants, those outside of what operators allow, local pages of a demo tenant, and a network that asked for too many
 * that nobody has. A realm whose database does not answer keeps what it said last, and is asked again 2 s after it failed; one that has an
 * older schema has no origins but the registry's. `reload` is for a tenant that was moved.
 */
export const admitsPageOf =
  ({ config, meter }: { config: Config; meter: Meter }, reload: () => Promise<Realm | null>): AdmitsPage =>
  async (realm, origin, looker) => {
    if (origin.length > MOST_CHARACTERS || originIn(origin) !== origin) return false
    if (realm.is_demo && isLocal(origin)) return isOwn(config, realm.subdomain, origin)
    if (originFault(config, realm, origin) !== null) return false
    const known = memory.of(realm.id)
    if (looker.isRefused()) return known.value.includes(origin)
    const before = meter.origins ?? 0
    const ask = async () => {
      meter.origins = before + 1
      return originsOf(realm).catch(async (error: unknown) => {
        const fresh = isWrongDatabase(error) ? await reload().catch(() => null) : null
        const is_elsewhere = fresh?.id === realm.id && fresh.database_url !== realm.database_url
        if (fresh && is_elsewhere) return originsOf(fresh)
        throw error
      })
    }
    const admits = (await share(known, FRESH_MS, ask, looker.later)).includes(origin)
    if (!admits && meter.origins !== before && meter.origins !== undefined) await looker.count()
    return admits
  }

/**
 * Its administrators chose them, so a tenant that is moved, and takes no writes meanwhile, says them too. The platform's database is reached
 * with a login that may write, so the transaction gives that up first.
 */
async function originsOf({ id, subdomain, database_url }: Realm): Promise<string[]> {
  const asked = build.execute(sql`select access.origins(${id}) as origins`)
  const client = connect(database_url, PATIENCE_MS, true)
  const answers: unknown[] = await client.batch(subdomain === null ? [build.execute(AS_APP), asked] : [asked])
  return (answers.at(-1) as { rows: { origins: string[] }[] }).rows[0]?.origins ?? []
}
const AS_APP = sql`set local role freehold_app`
