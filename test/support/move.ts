/** Moves of tenants between a shared host and a project of their own. */
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { vi } from 'vitest'
import type { doStep, Move } from '../../src/tenants/move/move.ts'
import type { MoveWork } from '../../src/tenants/move/place.ts'
import { removeOther, startMove, tendMoves } from '../../src/tenants/move/rest.ts'
import { databaseOf, master, settings } from './databases.ts'
import { type Answer, call, operatorToken } from './people.ts'
import { attempted } from './runs.ts'

export type { doStep, Move }

/**
 * What a move itself writes, and the checkpoint that may come at any moment of it. That the audit and the numbers of its events are whole
 * afterwards is asked of `verifyAudit` and of the feed.
 */
export const WRITTEN_BY_MOVES = [
  'freehold.tenant',
  'freehold.audit_log',
  'freehold.audit_detail',
  'freehold.audit_checkpoints',
  'access.event_spans',
]

export const movePath = (id: string) => `/platform/v1/tenants/${id}/move`
export const look = async (id: string) => (await call('', movePath(id), { token: await operatorToken() })).body
export const move = async (id: string, body: object): Promise<Answer> =>
  call('', movePath(id), { token: await operatorToken(), body })

/** The newest move of a tenant, once it has ended. Asks the master itself: a request might meet a fault meant for the move. */
export async function ended(id: string): Promise<any> {
  const state = async () =>
    (
      await master(
        sql`select m.state from platform.tenant_moves m where m.tenant_id = ${id} order by m.created_at desc limit 1`,
      ).catch(() => [])
    )[0]?.state
  await vi.waitUntil(async () => !['running', undefined].includes(await state()), { timeout: 240_000, interval: 100 })
  return (await look(id)).newest
}

/** Moves a tenant, and waits. */
export async function moved(id: string, isolation: 'database' | 'project', more: object = {}): Promise<any> {
  const begun = await move(id, { isolation, ...more })
  if (begun.status !== 202) throw new Error(JSON.stringify(begun.body))
  return ended(id)
}

/** Removes what a move left, as the scheduled job does some minutes later. */
export async function removeRest(id: string): Promise<void> {
  await master(
    sql`update platform.tenant_moves m set left_until = now(), lease_until = now() where m.tenant_id = ${id} and m.left_until is not null`,
  )
  for (const row of await master(
    sql`select m.id from platform.tenant_moves m where m.tenant_id = ${id} and m.left_until is not null`,
  ))
    await removeOther(settings(), String(row.id))
}

/** Begins a move in the master, as the door does, and leaves the start of its instance to the test. */
export async function plantMove(
  id: string,
  isolation: 'database' | 'project',
  attempt = 2,
  region: string | null = null,
): Promise<MoveWork> {
  const move_id = crypto.randomUUID()
  await master(
    sql`update platform.tenants t set move_id = ${move_id} where t.id = ${id}`,
    sql`insert into platform.tenant_moves (id, tenant_id, from_isolation, isolation, region, state, step, attempts, lease_until, trace_id)
        select ${move_id}, t.id, t.isolation, ${isolation}, coalesce(${region}, t.region), 'running', 'place', ${attempt}, now() + interval '3 minutes', ${'b'.repeat(32)} from platform.tenants t where t.id = ${id}`,
  )
  return { move_id, attempt }
}

/** Starts the instance of a move, and waits until it has ended, whatever became of the move. */
export async function runMove(work: MoveWork): Promise<void> {
  await startMove(env, work)
  const instance = await env.MOVE.get(`move-${work.move_id}-${work.attempt}`)
  await vi.waitUntil(async () => ['complete', 'errored', 'terminated'].includes((await instance.status()).status), {
    timeout: 120_000,
    interval: 50,
  })
}

/** Goes on with what is left of moves, as the scheduled job does once their leases have run out, until none is left of this tenant. */
export async function tendUntilEnded(id: string): Promise<string> {
  for (let tries = 0; tries < 60; tries++) {
    const [row] = await master(
      sql`update platform.tenant_moves set lease_until = now() - interval '1 second' where tenant_id = ${id} and state = 'running'`,
      sql`select m.state, m.left_until from platform.tenant_moves m where m.tenant_id = ${id} order by m.created_at desc limit 1`,
    )
    if (row?.state !== 'running') return String(row?.state)
    await tendMoves(env, settings())
    await attempted(
      async () => (await master(sql`select from platform.tenant_moves where tenant_id = ${id} and state = 'running'`)).length > 0,
    )
  }
  return 'unfinished'
}

/** All tables of a tenant's database and how many rows they have. */
export async function countsOf(subdomain: string): Promise<Record<string, number>> {
  const { asOwner } = await databaseOf(subdomain)
  const tables = await asOwner(
    sql`select c.relnamespace::regnamespace || '.' || c.relname as name from pg_class c where c.relnamespace in ('freehold'::regnamespace, 'access'::regnamespace) and c.relkind = 'r' order by 1`,
  )
  const counts = tables.map(({ name }) => sql.raw(`'${name}', (select count(*)::integer from ${name})`))
  return (await asOwner(sql`select jsonb_build_object(${sql.join(counts, sql`, `)}) as counts`))[0]?.counts
}
