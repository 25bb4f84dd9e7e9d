import { type SQL, sql } from 'drizzle-orm'
import type { Config } from '../../kernel/config.ts'
import type { Env } from '../../kernel/env.ts'
import type { Check, Code, Finding } from './findings.ts'

export type Sources = { env: Env; config: Config; trace_id: string }

/** What is looked at: the next `limit` after a place, '' is the beginning; or one subject alone. */
export type Chosen = { after: string; limit: number } | { subject: string }

/** `next`: the place after which the rest is; null: that was all. */
export type Looked = { findings: Finding[]; checked: number; next: string | null }

/** A part of a check: what it finds, in bounded pages. */
export type Part = { check: Check; codes: readonly Code[]; look(sources: Sources, chosen: Chosen): Promise<Looked> }

const FIRST = '00000000-0000-0000-0000-000000000000'

/** The condition and the end of a page of rows `t` that have an id; `name` is the column that a subject is looked up by. */
export const page = (chosen: Chosen, name: SQL): { where: SQL; rest: SQL } =>
  'subject' in chosen
    ? { where: sql`${name} = ${chosen.subject}`, rest: sql`order by t.id limit 1` }
    : { where: sql`t.id > ${chosen.after || FIRST}::uuid`, rest: sql`order by t.id limit ${chosen.limit}` }

/** The place behind a page of rows; null: there are no more. */
export const behind = (chosen: Chosen, ids: unknown[]): string | null =>
  'subject' in chosen || ids.length < chosen.limit ? null : String(ids.at(-1))

/** How many places of a host are taken: by its tenants, and by those that a move takes there or took away a moment ago. */
export const placedOn = (host_id: SQL) => sql`((select count(*) from platform.tenants x where x.host_id = ${host_id})
  + (select count(*) from platform.tenant_moves v where v.other_host_id = ${host_id}))::integer`
