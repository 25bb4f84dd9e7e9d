/**
 * What the platform limits in a tenant, what is used of it, and the tenant's license. Threat: a limit that holds in the Worker alone,
 * so that many requests at once go beyond it. The database counts and refuses (src/limits/limits.sql).
 */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import { create } from '../idempotency/idempotency.ts'
import type { Ctx } from '../kernel/context.ts'
import { rowsOf } from '../kernel/wire.ts'

const most = z.int().nullable()

/** How much of each there is. */
export const Used = z
  .object({
    users: z.int().openapi({ description: 'Active users' }),
    organizations: z.int(),
    documents: z.int().openapi({ description: 'All documents that were ever counted' }),
    api_keys: z.int(),
    sessions: z.int().nullable().openapi({ description: 'null: sessions are counted only where they are limited' }),
  })
  .openapi('Used')

export const Usage = z
  .object({
    limits: z
      .object({ max_users: most, max_organizations: most, max_documents: most, max_api_keys: most, max_sessions: most })
      .openapi({ description: 'null: there is no limit' }),
    used: Used,
    licensed_until: z.string().nullable().openapi({ description: 'When the license ends; null: none is needed' }),
    read_only_from: z.string().nullable().openapi({ description: 'From when on the tenant can only be read; null: never' }),
  })
  .openapi('Usage')

export const NewDocuments = z
  .object({ count: z.int().min(1).max(100_000).default(1).openapi({ description: 'How many documents were made' }) })
  .openapi('NewDocuments')

export const CountedDocuments = z
  .object({
    id: z.uuid().openapi({ description: 'Of this count, in the audit' }),
    documents: z.int().openapi({ description: 'All documents that were counted, with these' }),
    max_documents: most.openapi({ description: 'null: documents are not limited' }),
  })
  .openapi('CountedDocuments')

/** The tenant's limits and what is used of them. One round trip; `usage:read`. */
export async function getUsage(ctx: Ctx): Promise<z.infer<typeof Usage>> {
  const [result] = await ctx.run(ctx.db.execute(sql`select access.usage() as usage`))
  const [row] = rowsOf<{ usage: z.infer<typeof Usage> }>(result)
  if (!row) throw new Error('The limits of the tenant cannot be read.')
  return row.usage
}

/**
 * Counts documents that a program of the tenant's has made. One round trip; `usage:create`. Fails with limit_reached: then none of
 * them is counted.
 */
export async function countDocuments(ctx: Ctx, count: number): Promise<z.infer<typeof CountedDocuments>> {
  const [counted] = await create<{ id: string; documents: string | number; max_documents: number | null }>(ctx, {
    made: sql`made as (select c.id, c.documents, c.max_documents from access.count_documents(${count}) c)`,
  })
  if (!counted) throw new Error('Nothing was counted.')
  return { ...counted, documents: Number(counted.documents) }
}
