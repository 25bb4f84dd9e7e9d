/**
 * The doctor: compares master, KV and Neon, and mends what differs. Threat: an installation of thousands of tenants that no single
 * request can look at; and a fix of what was found an hour ago and is so no longer. So findings come in pages, each within the limits of an
 * invocation, and a fix looks again before it does anything.
 */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import type { Ctx } from '../../kernel/context.ts'
import { Page, paged, readCursor } from '../../kernel/cursor.ts'
import { Text } from '../../kernel/fields.ts'
import { invalid, Problem } from '../../kernel/problem.ts'
import { closedTenants, takenTenants } from './closed.ts'
import { ASK, CHECKS, CODES, type Code, type Finding, SAFE } from './findings.ts'
import { FIXES } from './fixes.ts'
import { entries, keys } from './kv.ts'
import { hosts } from './neon.ts'
import type { Part, Sources } from './part.ts'
import { projects } from './projects.ts'
import { hostRows, tenantRows } from './registry.ts'
import { nameIn } from './removal.ts'
import { platformWork, tenantWork } from './work.ts'

/** In the order in which they are looked at. */
const PARTS: Part[] = [
  tenantRows,
  hostRows,
  entries,
  keys,
  hosts,
  projects,
  tenantWork,
  takenTenants,
  closedTenants,
  platformWork,
]

export const FindingWire = z
  .object({
    check: z.enum(CHECKS),
    code: z.enum(Object.keys(CODES) as [Code, ...Code[]]),
    subject: z
      .string()
      .openapi({ description: 'A tenant by its subdomain, a key of KV, a host, what a host has as host/name, a run' }),
    tenant_id: z.uuid().nullable(),
    detail: z.string(),
    fix: z
      .enum(['safe', 'ask'])
      .nullable()
      .openapi({ description: 'safe: POST doctor/fix; ask: POST doctor/remove, which destroys data' }),
    fix_detail: z.string().nullable().openapi({ description: 'What the fix does' }),
  })
  .openapi('Finding')

export const Findings = z
  .object({
    data: z.array(FindingWire),
    checked: z.int().openapi({ description: 'How many tenants, keys or hosts this page looked at' }),
    next_cursor: z.string().nullable(),
  })
  .openapi('Findings')

export const DoctorQuery = Page.extend({ check: z.enum(CHECKS).optional() })

const subject = Text(600).openapi({ description: 'The subject of the finding' })
export const NewFix = z.object({ code: z.enum(SAFE), subject }).openapi('NewFix')
export const NewRemoval = z
  .object({
    code: z.enum(ASK),
    subject,
    confirm: z.string().max(600).openapi({ description: 'The name of what is deleted: the subject without its host' }),
  })
  .openapi('NewRemoval')
export const Fixed = z.object({ code: z.string(), subject: z.string(), done: z.string() }).openapi('Fixed')

/** Admits who may work on every tenant. What follows reads as the system, which no policy narrows. One round trip. */
async function admit(ctx: Ctx): Promise<void> {
  await ctx.run()
  if (ctx.principal?.scope !== 'all') throw new Problem('forbidden')
}

/**
 * A page of findings: those of the next `limit` tenants or keys, or of four hosts. One round trip to admit; then one or two to the master,
 * an operation of KV, or some thirty requests to each host; `tenant:read`. Fails with invalid_cursor.
 */
export async function examine(ctx: Ctx, sources: Sources, { check, limit, cursor }: z.infer<typeof DoctorQuery>) {
  const list = `doctor:${check ?? ''}`
  const [at = '0', after = ''] = (await readCursor(ctx.realm, list, cursor)) ?? []
  await admit(ctx)
  const parts = PARTS.filter((part) => check === undefined || part.check === check)
  const part = parts[Number(at)]
  if (!part) throw new Problem('invalid_cursor')
  const { findings, checked, next } = await part.look(sources, { after, limit })
  const place = next === null ? [String(Number(at) + 1), ''] : [at, next]
  const isLast = Number(place[0]) >= parts.length
  const { next_cursor } = await paged(ctx.realm, list, isLast ? [] : [place, place], 1, (values) => values)
  return { data: findings, checked, next_cursor }
}

/** Mends what loses nothing. Two round trips beside what it does; `tenant:update`. Fails with illegal_state when it is so no longer. */
export const fix = (ctx: Ctx, sources: Sources, wanted: z.infer<typeof NewFix>) => mend(ctx, sources, wanted)

/**
 * Deletes at Neon what no tenant has; `confirm` repeats its name. Two round trips beside what it does; `tenant:delete`. Fails with
 * invalid_request, illegal_state when it is so no longer, database_unavailable when Neon does not do it.
 */
export async function removeStranger(ctx: Ctx, sources: Sources, { confirm, ...wanted }: z.infer<typeof NewRemoval>) {
  return mend(ctx, sources, wanted, confirm)
}

async function mend(ctx: Ctx, sources: Sources, wanted: { code: keyof typeof FIXES; subject: string }, confirm?: string) {
  await admit(ctx)
  const { code, subject } = wanted
  if (confirm !== undefined && confirm !== nameIn(wanted))
    throw invalid('confirm', 'must be the name of what is deleted: deleting cannot be undone')
  const found = await again(sources, code, subject)
  if (!found) throw new Problem('illegal_state', 'The doctor does not find this any more: nothing was done.')
  // Written before it is done: what was done is never without its entry.
  await ctx.run(ctx.db.execute(sql`select platform.record_fix(${code}, ${subject})`))
  return { code, subject, done: await FIXES[code](sources, found) }
}

/** The finding, if it is still so. Fails with database_unavailable when Neon does not say. */
async function again(sources: Sources, code: Code, subject: string): Promise<Finding | undefined> {
  const part = PARTS.find(({ codes }) => codes.includes(code))
  const looked = await part?.look(sources, { subject })
  const unread = looked?.findings.find((each) => each.code === 'neon_unreadable' && code !== each.code)
  if (unread) throw new Problem('database_unavailable', `Nothing was done: ${unread.detail}`)
  return looked?.findings.find((each) => each.code === code && each.subject === subject)
}
