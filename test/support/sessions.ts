import { type SQL, sql } from 'drizzle-orm'
import type { Database } from './databases.ts'
import { login } from './people.ts'

export type Credential = { session_id: string; user_id: string }

/** Logs somebody in at the door, and gives what an admission asks for; `admit` adds the proof. */
export async function credentialOf(subdomain: string, who: Parameters<typeof login>[1] = {}): Promise<Credential> {
  const { access_token } = await login(subdomain, who)
  const { sub, sid } = JSON.parse(atob(access_token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/')))
  return { session_id: sid, user_id: sub }
}

export const FACTS = { address: '192.0.2.1', agent: 'cy/1.0', method: 'GET', path: '/here', trace_id: 'a'.repeat(32) }

/** The statement by which a transaction is admitted, as by a token of the session that the credential names. */
export const admit = (
  database: Pick<Database, 'id' | 'proof'>,
  credential: object,
  permission: string | null,
  request: object = FACTS,
  any_password = false,
): SQL =>
  sql`select x.* from jsonb_to_record(access.admit(${database.id}, ${JSON.stringify({ proof: database.proof(credential), ...credential })}::jsonb, ${permission}, ${JSON.stringify(request)}::jsonb, ${any_password})) as x (user_id uuid, session_id uuid, scope text)`
