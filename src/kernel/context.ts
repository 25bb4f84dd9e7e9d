import { type SQL, sql } from 'drizzle-orm'
import type { BatchItem, BatchResponse } from 'drizzle-orm/batch'
import type { ApiKey } from './api-key.ts'
import type { Config } from './config.ts'
import { build, connect, dbError, fixed, isWrongDatabase, requireJson, toProblem } from './db.ts'
import { Problem } from './problem.ts'
import type { Bearer, SigningKey } from './token.ts'

/** A party that issues tokens and owns users: a tenant, or the platform itself. Made by the registry. */
export type Realm = {
  id: string
  /** null: the platform. */
  subdomain: string | null
  legal_name: string
  /** `iss` and `aud` of its tokens. */
  url: string
  /** Origins beside its own whose pages may call. */
  origins: string[]
  database_url: string
  keys: SigningKey[]
  refresh_key: string
  /** Shown to the realm's database when nobody is logged in and something is to be done all the same. */
  system_key: string
}

/** What the request says of itself; sealed by the admission and written into the audit. */
export type RequestFacts = {
  address: string | null
  agent: string | null
  method: string
  path: string
  trace_id: string
}

/** What a route asks of the admission. */
export type Need = { permission: string | null; any_password: boolean }

/** `session_id` is null of who came with an API key. */
export type Principal = { user_id: string; session_id: string | null; scope: 'all' | 'department' | 'team' | 'own' }

/** All that a verb gets to know of its request. */
export type Ctx = {
  readonly config: Config
  readonly realm: Realm
  readonly request: RequestFacts
  readonly need: Need
  /** Who asks, by a token of a session; or with a key. */
  readonly bearer: Bearer | null
  readonly key: ApiKey | null
  /** What the admission is shown; null: nothing. */
  readonly credential: { session_id: string; user_id: string; proof: string | null } | { key: string } | null
  /** Who was admitted, once `run` has answered. */
  principal: Principal | null
  /** Round trips spent on the realm's database. */
  trips: number
  /** Builds statements for `run`. */
  readonly db: typeof build
  /** Proves, decides, acts and records: the statements after the admission, in one transaction and one round trip. */
  run<T extends readonly BatchItem<'pg'>[]>(...statements: T): Promise<BatchResponse<T>>
  /** Calls one definer function of an anonymous door, in one round trip, and gives what it returns. */
  call<T>(call: SQL): Promise<T>
  /** Work that may be lost, after the answer. */
  later(work: Promise<unknown>): void
}

type Parts = Pick<Ctx, 'config' | 'request' | 'need' | 'bearer' | 'key' | 'later'> & {
  realm: Realm
  /** Resolves the realm once more, past all caches; null when it is the same as before or gone. */
  reloadRealm: () => Promise<Realm | null>
  /** Says that somebody is in the realm's database, beside the request; null when that is known. */
  reportActivity: () => Promise<unknown> | null
  /** Counts one use of an API key. */
  countUse: (ctx: Ctx, prefix: string) => void
}

export function makeCtx({ reloadRealm, reportActivity, countUse, ...parts }: Parts): Ctx {
  const { bearer, key } = parts
  const credential = bearer
    ? { session_id: bearer.session_id, user_id: bearer.user_id, proof: bearer.proof }
    : key && { key: key.hash }
  let is_counted = key === null
  const ctx: Ctx = {
    ...parts,
    credential,
    principal: null,
    trips: 0,
    db: build,
    async run(...statements) {
      if (!credential) throw new Problem('token_missing')
      const { permission, any_password } = parts.need
      const last = key || parts.request.method === 'GET' ? [] : [TOUCH]
      const results = await send((realm) => [
        ...asApp(realm),
        build.execute(
          sql`select * from access.admit(${realm.id}, ${JSON.stringify(credential)}::jsonb, ${permission}, ${JSON.stringify(parts.request)}::jsonb, ${any_password})`,
        ),
        ...statements,
        ...last,
      ]).then(used, (error) => {
        if (wasAdmitted(error)) used(null)
        throw error
      })
      const [admitted, ...answers] = results.slice(
        results.length - last.length - statements.length - 1,
        results.length - last.length,
      )
      ctx.principal = (admitted as { rows: Principal[] }).rows[0] ?? null
      return answers as never
    },
    async call<T>(call: SQL) {
      const results = (await send((realm) => [...asApp(realm), build.execute(sql`select ${call} as answer`)])) as {
        rows: { answer: T }[]
      }[]
      const answer = results.at(-1)?.rows[0]
      if (!answer) throw new Error('A door gave no answer.')
      return answer.answer
    },
  }

  let { realm } = parts

  /** A request that was let in with a key is a use of it, whatever became of it. */
  function used<T>(results: T): T {
    if (key && !is_counted) countUse(ctx, key.prefix)
    is_counted = true
    return results
  }

  /** One round trip; a database that is not this tenant's is asked for once more, past the caches, before that is a failure. */
  async function send(list: (realm: Realm) => BatchItem<'pg'>[]): Promise<unknown[]> {
    try {
      return await once(realm, list)
    } catch (error) {
      const fresh = isWrongDatabase(error) ? await reloadRealm() : null
      // The same as before is away; a name that was given again is somebody else's, for whom nothing here was proved.
      if (!fresh || fresh.id !== realm.id || fresh.database_url === realm.database_url) throw toProblem(error)
      realm = fresh
      return await once(realm, list).catch((second) => {
        throw toProblem(second)
      })
    }
  }

  async function once(realm: Realm, list: (realm: Realm) => BatchItem<'pg'>[]): Promise<unknown[]> {
    ctx.trips++
    try {
      return (await requireJson(
        connect(realm.database_url).batch(list(realm) as [BatchItem<'pg'>, ...BatchItem<'pg'>[]]),
      )) as unknown[]
    } finally {
      const told = reportActivity()
      if (told) parts.later(told)
    }
  }
  return ctx
}

/** Who reads is touched by the admission; who writes last, when they have all the locks that they will take. */
const TOUCH = fixed(build.execute(sql`select access.touch()`))

/** True of what a statement behind the admission fails with. */
const wasAdmitted = (error: unknown) => /^(FH4(00|04|09)|2[23])/.test(dbError(error)?.code ?? '')

/** The platform's database is reached with a login that may do more: there the transaction steps down before it is admitted. */
const asApp = (realm: Realm): BatchItem<'pg'>[] =>
  realm.subdomain === null ? [build.execute(sql`set local role freehold_app`)] : []
