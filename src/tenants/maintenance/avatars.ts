/**
 * Deleting the objects of pictures that nobody shows any more (src/avatars). Threat: somebody removed their picture, or was erased, and it
 * is still kept, because whoever was to delete it died; or nobody noted it, because the Worker died between keeping a picture and naming
 * it. So what was noted is due until it is deleted, and once a day, with the purge, objects that no user names are looked for.
 */
import { type SQL, sql } from 'drizzle-orm'
import { remove, type Version, versionsIn } from '../../avatars/store.ts'
import { batch, unhurried } from '../../kernel/db.ts'
import { log } from '../../kernel/log.ts'
import { NEWEST } from '../migration/versions.ts'

const AT_ONCE = 500
const MOST_TURNS = 20
/** No upload takes so long: what is older and named by nobody will never be. */
const UPLOADED_MS = 60 * 60_000

type Realm = { id: string; schema_version?: string | null }

/** When objects are to be deleted, and whether now. An older schema, and the platform's, note none. */
export const avatarsOf = ({ schema_version }: Realm): { is_known: boolean; due_at: SQL; is_due: SQL } =>
  schema_version === NEWEST
    ? { is_known: true, due_at: sql`access.avatars_due()`, is_due: sql`coalesce(access.avatars_due() <= now(), false)` }
    : { is_known: false, due_at: sql`null::timestamptz`, is_due: sql`false` }

const asOwner = (url: string, statement: SQL, trace_id: string) =>
  batch(url, [unhurried, sql`set local role freehold_owner`, statement], trace_id).then(([, , rows]) => rows?.[0]?.answer)

type At = { files: R2Bucket; url: string; tenant_id: string; tenant: string; trace_id: string }

/** Deletes what was noted. False: there is more, or it failed. Never fails. */
export async function removeLeftAvatars({ files, url, tenant_id, tenant, trace_id }: At): Promise<boolean> {
  try {
    for (let turn = 0; turn < MOST_TURNS; turn++) {
      const left = (await asOwner(url, sql`select access.avatars_left(${AT_ONCE}) as answer`, trace_id)) as Version[]
      if (!left.length) return true
      await remove(files, tenant_id, left)
      await asOwner(url, sql`select access.forget_avatars(${JSON.stringify(left)}::jsonb) as answer`, trace_id)
      if (left.length < AT_ONCE) return true
    }
  } catch (error) {
    log('pictures not deleted', { tenant, trace_id, error: error instanceof Error ? error.message : String(error) })
  }
  return false
}

/** Deletes objects that no user names. Never fails: the next day has another try. */
export async function sweepAvatars({ files, url, tenant_id, tenant, trace_id }: At): Promise<void> {
  try {
    for await (const found of versionsIn(files, tenant_id, new Date(Date.now() - UPLOADED_MS))) {
      const asked = sql`select access.unknown_avatars(${JSON.stringify(found)}::jsonb) as answer`
      const unknown = (await asOwner(url, asked, trace_id)) as Version[]
      if (!unknown.length) continue
      await remove(files, tenant_id, unknown)
      log('pictures without an owner deleted', { tenant, trace_id, pictures: unknown.length })
    }
  } catch (error) {
    log('pictures not swept', { tenant, trace_id, error: error instanceof Error ? error.message : String(error) })
  }
}
