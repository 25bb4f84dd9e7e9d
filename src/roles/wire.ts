/** Schemas that roles, permissions, overrides and delegations share. */
import { z } from '@hono/zod-openapi'
import { type SQL, sql } from 'drizzle-orm'
import type { Problem } from '../kernel/problem.ts'

export const Scope = z.enum(['all', 'department', 'team', 'own'])

/** In force now: between `starts_at` and `ends_at`, which may be open. */
export const current = (alias: SQL) => sql`access.in_force(${alias}.starts_at, ${alias}.ends_at, now())`

/** Awaits the work, and maps an error for which `of` returns a problem, such as a broken constraint. */
export async function mapConstraintErrors<T>(work: Promise<T>, of: (error: unknown) => Problem | null): Promise<T> {
  return work.catch((error) => {
    throw of(error) ?? error
  })
}
