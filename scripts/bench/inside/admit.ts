import { type SQL, sql } from 'drizzle-orm'

const FACTS = JSON.stringify({ address: null, agent: 'bench/1', method: 'GET', path: '/', trace_id: '0'.repeat(32) })

/** The statement that every request begins with. */
export const admit = (tenant_id: string, credential: string, permission: string | null): SQL =>
  sql`select access.admit(${tenant_id}, ${credential}::jsonb, ${permission}, ${FACTS}::jsonb, true)`
