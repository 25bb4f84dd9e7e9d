import { type SQL, sql } from 'drizzle-orm'
import type { BatchItem, BatchResponse } from 'drizzle-orm/batch'
import type { ApiKeyCredential } from './api-key.ts'
import type { Config } from './config.ts'
import { build, connect, dbError, fixed, isWrongDatabase, prepared, requireJson, toProblem } from './db.ts'
import { Problem } from './problem.ts'
import type { Bearer, External, SigningKey } from './token.ts'

/** A party that issues tokens and owns users: a tenant, or the platform itself. The registry loads it. */
export type Realm = {
  id: string
  /** null: the platform. */
  subdomain: string | null
  legal_name: string
  is_demo: boolean
  /** `iss` and `aud` of its tokens. */
  url: string
  /** Those of tokens that were made under its former names, while they count. */
  former_urls: string[]
  /** Origins, besides its own, whose pages may call: those that operators chose. Its administrators choose others in its settings. */
  origins: string[]
  /** Within which those of administrators must lie; null: anywhere. */
  origin_patterns: string[] | null
  /** When its license ends, and from when on it can only be read; null: it needs none. The registry's copy may be a minute old. */
  license: { licensed_until: string; read_only_from: string } | null
  database_url: string
  keys: SigningKey[]
  /** Makes the successors of refresh tokens, and the MACs of cursors and of repeated requests. */
  refresh_key: string
  /** What it made around a rotation, in this isolate or another: it is recognised, and makes nothing. Null: none. */
  other_refresh_key: string | null
  /** The newest migration of its database; null: not known. */
  schema_version: string | null
  /** Authenticates the system to the realm's database for work without a logged-in user. */
  system_key: string
}

/** Facts about the HTTP request. The admission signs them into the claims, and the audit records them. */
export type RequestFacts = {
  address: string | null
  agent: string | null
  method: string
  path: string
  trace_id: string
}

/** The requirements of a route on the admission; and of a POST, that it changes nothing. */
export type Need = { permission: string | null; any_password: boolean; only_reads?: boolean } & StepUp
/** Of a session: its user authenticated within the last `fresh` minutes, by `aal` factors (null: ever, by any). A key is not asked. */
export type StepUp = { fresh?: number | null; aal?: number | null }

/** `session_id` is null for a caller with an API key; `scope` is one of access.scope (src/kernel/kernel.sql). */
export type Principal = { user_id: string; session_id: string | null; scope: string }

/** A request that creates something and may be repeated: its route, and the SHA-256 of its Idempotency-Key and of what it asks for. */
export type Idempotency = {
  readonly route: string
  readonly key_hash: string
  readonly request_hash: string
  /** The same under the realm's other key. */
  readonly other_hash: string | null
  /** True once it turns out that the request was answered before. */
  is_replayed: boolean
}

/** Everything that the functions of a room know about their request. */
export type Ctx = {
  readonly config: Config
  readonly realm: Realm
  readonly request: RequestFacts
  readonly need: Need
  /** The caller's verified token, or the API key; both null on a public endpoint. */
  readonly bearer: Bearer | null
  readonly key: ApiKeyCredential | null
  /** The credential as the admission takes it; null: none. */
  readonly credential: { session_id: string; user_id: string; proof: string | null } | { key: string } | External | null
  /** The admitted caller, once `run` or `ask` has returned. */
  principal: Principal | null
  /** null: the request has no Idempotency-Key, or its route takes none. */
  idempotency: Idempotency | null
  /** Round trips spent on the realm's database. */
  trips: number
  /** Builds statements for `run`. */
  readonly db: typeof build
  /**
   * Admits the caller and runs the statements, in one transaction and one round trip. Returns the results of the statements.
   * Fails with token_missing, or with what the admission or a statement refuses.
   */
  run<T extends readonly BatchItem<'pg'>[]>(...statements: T): Promise<BatchResponse<T>>
  /**
   * Admits the caller and calls one security definer function, made by `question`, in the statement that admits: what is asked most
   * pays for one statement and not for two. Returns its result. Fails as `run` does.
   */
  ask<T>(question: Question, values?: Record<string, unknown>): Promise<T>
  /** Calls one security definer function of a public endpoint, in one round trip, and returns its result. */
  call<T>(call: SQL): Promise<T>
  /** Continues work after the response. It may be lost. */
  later(work: Promise<unknown>): void
}

type Parts = Pick<Ctx, 'config' | 'request' | 'need' | 'bearer' | 'key' | 'later'> & {
  realm: Realm
  /** Resolves the realm again, bypassing all caches. Fails when it is gone or not active; null when the registry does not answer. */
  reloadRealm: () => Promise<Realm | null>
  /** Reports activity in the realm, alongside the request, and whether it was committed; null if that was reported already. */
  reportActivity: (is_committed: boolean) => Promise<unknown> | null
  countUse: (ctx: Ctx, prefix: string) => void
  /** Rings the streams of users to whom a committed transaction has told something: their ids, with commas. */
  ring: (rung: string | null | undefined) => void
}

export function makeCtx({ reloadRealm, reportActivity, countUse, ring, ...parts }: Parts): Ctx {
  const { bearer, key } = parts
  const credential = bearer
    ? (bearer.external ?? { session_id: bearer.session_id, user_id: bearer.user_id, proof: bearer.proof })
    : key && { key: key.hash }
  let is_counted = key === null
  const ctx: Ctx = {
    ...parts,
    credential,
    principal: null,
    idempotency: null,
    trips: 0,
    db: build,
    async run(...statements) {
      const [, ...answers] = await link.admitted(ADMIT, {}, statements)
      return answers as never
    },
    async ask<T>(question: Question, values: Record<string, unknown> = {}) {
      const [asked] = await link.admitted(question, values, [])
      return (asked as { rows: { answer: T }[] }).rows[0]?.answer as T
    },
    async call<T>(call: SQL) {
      const results = await link.send((realm) => [...asApp(realm), build.execute(sql`select ${call} as answer, ${RUNG}`)])
      const [answer] = (results.at(-1) as { rows: { answer: T }[] }).rows
      if (!answer) throw new Error('A public endpoint returned no row.')
      return answer.answer
    },
  }

  let { realm } = parts
  const only_reads = parts.need.only_reads || /^(GET|HEAD)$/.test(parts.request.method)

  // Methods, because esbuild names a function again each time that it is made.
  const link = {
    /** Runs the statement that admits, what comes after it, and what every request ends with. Returns the results of the first two. */
    async admitted(admission: Question, values: Record<string, unknown>, after: readonly BatchItem<'pg'>[]) {
      if (!credential) throw new Problem('token_missing')
      const given = {
        ...values,
        ...{ fresh: null, aal: null, ...parts.need },
        credential: JSON.stringify(credential),
        request: JSON.stringify(parts.request),
      }
      const last = parts.request.method === 'GET' || (key && only_reads) ? [] : [TOUCH]
      const results = await link
        .send((realm, readOnly) => [
          ...asApp(realm),
          admission({ ...given, tenant: realm.id }),
          ...after,
          ...(readOnly ? [] : last),
        ])
        .then(link.countOnce, (error) => {
          if (wasAdmitted(error)) link.countOnce(null)
          throw error
        })
      const own = results.slice(asApp(realm).length).slice(0, after.length + 1)
      ctx.principal = (own[0] as { rows: { principal: Principal }[] }).rows[0]?.principal ?? null
      return own
    },

    /** Counts an admitted request with a key as one use of it, whatever its outcome. */
    countOnce<T>(results: T): T {
      if (key && !is_counted) countUse(ctx, key.prefix)
      is_counted = true
      return results
    },

    /**
     * One round trip. A database that is not this tenant's causes one retry with the realm reloaded, before the request fails. One that
     * takes no writes, because the tenant is moved, answers what Postgres itself keeps from writing (src/tenants/fence).
     */
    async send(list: Statements): Promise<unknown[]> {
      try {
        return await link.once(realm, list)
      } catch (error) {
        const fresh = isWrongDatabase(error) ? await reloadRealm() : null
        // Same URL: the database is unavailable. Another id: the subdomain is now that of a tenant that never verified this caller.
        const is_same = fresh?.database_url === realm.database_url
        if (!fresh || fresh.id !== realm.id || (is_same && !only_reads)) throw toProblem(error)
        realm = fresh
        return await link.once(realm, list, is_same).catch((second) => {
          throw toProblem(second)
        })
      }
    },
    async once(realm: Realm, list: Statements, readOnly = false): Promise<unknown[]> {
      ctx.trips++
      let results: unknown[] | null = null
      try {
        const sent = list(realm, readOnly) as [BatchItem<'pg'>, ...BatchItem<'pg'>[]]
        results = (await requireJson(connect(realm.database_url, undefined, readOnly).batch(sent))) as unknown[]
        ring((results.at(-1) as { rows?: { rung?: string }[] } | undefined)?.rows?.[0]?.rung)
        return results
      } finally {
        const reported = reportActivity(results !== null)
        if (reported) parts.later(reported)
      }
    },
  }
  return ctx
}

/** What is sent to a realm's database; `readOnly` says that the transaction cannot write. */
type Statements = (realm: Realm, readOnly: boolean) => BatchItem<'pg'>[]

const { placeholder } = sql
const GIVEN = sql`${placeholder('tenant')}, ${placeholder('credential')}::jsonb, ${placeholder('permission')}, ${placeholder('request')}::jsonb, ${placeholder('any_password')}`

/** A statement that admits, by what its placeholders stand for. */
export type Question = (values: Record<string, unknown>) => BatchItem<'pg'>

/** It takes what is asked of the session only where something is: a database that is a version behind has no such parameters. */
function admitting(statement: (admission: SQL) => SQL): Question {
  const made = (given: SQL) => prepared(build.execute(statement(sql`access.admit(${given})`)))
  const [usual, stricter] = [made(GIVEN), made(sql`${GIVEN}, ${placeholder('fresh')}::integer, ${placeholder('aal')}::integer`)]
  return (values) => (values.fresh === null && values.aal === null ? usual : stricter)(values)
}
const ADMIT = admitting((admission) => sql`select ${admission} as principal`)

/**
 * A call of a security definer function for `ctx.ask`, built once; its own values are `sql.placeholder`s. `offset 0` keeps Postgres
 * from merging the two queries: the caller is admitted, then the function runs.
 */
export const question = (call: SQL): Question =>
  admitting((admission) => sql`select a.principal, ${call} as answer from (select ${admission} as principal offset 0) a`)

/** Whom the transaction told something; evaluated after what stands before it. A database that is a version behind tells nobody. */
export const RUNG = sql`nullif(current_setting('access.rung', true), '') as rung`
/** Touches the session. Reads are touched in the admission; writes at the end, when they hold all their other locks. */
const TOUCH = fixed(build.execute(sql`select access.touch(), ${RUNG}`))

/** True for an error that a statement after the admission raised; FR200 is no failure (src/idempotency). */
const wasAdmitted = (error: unknown) => /^(FH4(00|04|09|22)|FR200|2[23])/.test(dbError(error)?.code ?? '')

/**
 * The platform's database is reached with a more privileged login, so the transaction drops its privileges before the admission.
 */
const asApp = (realm: Realm): BatchItem<'pg'>[] =>
  realm.subdomain === null ? [build.execute(sql`set local role freehold_app`)] : []
