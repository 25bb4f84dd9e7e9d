/**
 * The budget of an account at Neon, and who changes which project: one Durable Object for each account. Threat: isolates that know nothing of
 * each other use up the 700 calls a minute of the account, or change one project at once, which Neon answers with 423. Who was killed while
 * it changed a project must not keep others waiting for long: a lease ends by itself. Nothing here is needed for what is right: Neon
 * refuses what is too much, and a step finds what an earlier one made.
 */
import { DurableObject } from 'cloudflare:workers'
import type { Env } from '../../kernel/env.ts'
import { HELD_MS, MINUTE_MS, type NeonCall, type NeonTurn, nextMoment, type Turns } from './pace.ts'

/** How long a change may take to be answered. */
const REQUEST_MS = 30_000
/** How long operations that nobody asks about keep others waiting. */
const OPERATIONS_MS = 10_000
/** The rows that are too old to count go with every so many calls. */
const SWEEP = 64

export class NeonTurns extends DurableObject<Env> implements Turns {
  readonly #sql: SqlStorage
  /** Who waits for a project, in order. They are lost with the object, and ask again. */
  readonly #waiting = new Map<string, Set<() => void>>()

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    this.#sql = ctx.storage.sql
    this.#sql.exec(`
      create table if not exists calls (n integer primary key, at integer not null);
      create table if not exists writers (project text primary key, holder text not null, until integer not null, operations text not null);
    `)
  }

  /**
   * Gives a call its turn, within four seconds; or says that it has none yet. Who asks again with the same holder has the lease that it
   * has, so a lost answer does no harm.
   */
  async enter({ budget, project, holder, operation }: NeonCall): Promise<NeonTurn> {
    const until = Date.now() + HELD_MS
    if (project && operation) this.#prolong(project, operation)
    while (project && holder && !this.#take(project, holder)) {
      if (Date.now() >= until) return { refused: 'project', after_ms: 0 }
      await this.#freed(project, until)
    }
    const now = Date.now()
    const last = Number(this.#sql.exec('select max(n) as n from calls').one().n ?? 0)
    const at = nextMoment(now, budget, (n) => {
      const [call] = this.#sql.exec('select at from calls where n = ?', last + 1 - n).toArray()
      return call && Number(call.at)
    })
    if (at > until) {
      if (project && holder) await this.leave(project, holder, [])
      return { refused: 'budget', after_ms: at - now }
    }
    this.#sql.exec('insert into calls (n, at) values (?, ?)', last + 1, at)
    if (last % SWEEP === 0) this.#sql.exec('delete from calls where at < ? and n < ?', now - MINUTE_MS, last)
    return { after_ms: at - now }
  }

  /** A change was answered. While its operations run, nobody else changes the project: Neon would refuse. */
  async leave(project: string, holder: string, operations: string[]): Promise<void> {
    if (operations.length)
      this.#sql.exec(
        'update writers set operations = ?, until = ? where project = ? and holder = ?',
        JSON.stringify(operations),
        Date.now() + OPERATIONS_MS,
        project,
        holder,
      )
    else this.#release(project, holder)
  }

  /** Operations of a project have ended, whoever saw it. */
  async ended(project: string, operations: string[]): Promise<void> {
    const [writer] = this.#sql.exec('select holder, operations from writers where project = ?', project).toArray()
    const under_way = JSON.parse(String(writer?.operations ?? '[]')) as string[]
    const left = under_way.filter((id) => !operations.includes(id))
    if (writer && under_way.length && !left.length) this.#release(project, String(writer.holder))
    else if (left.length < under_way.length)
      this.#sql.exec('update writers set operations = ? where project = ?', JSON.stringify(left), project)
  }

  #take(project: string, holder: string): boolean {
    const now = Date.now()
    return (
      this.#sql
        .exec(
          `insert into writers (project, holder, until, operations) values (?, ?, ?, '[]')
           on conflict (project) do update set holder = excluded.holder, until = excluded.until, operations = excluded.operations
             -- No lease is longer: one that is, is of a clock that was ahead.
             where writers.until <= ? or writers.until > excluded.until or writers.holder = excluded.holder
           returning project`,
          project,
          holder,
          now + REQUEST_MS,
          now,
        )
        .toArray().length === 1
    )
  }

  #release(project: string, holder: string): void {
    this.#sql.exec('delete from writers where project = ? and holder = ?', project, holder)
    for (const wake of this.#waiting.get(project) ?? []) wake()
  }

  /** Somebody waits for the operation, so it counts on. */
  #prolong(project: string, operation: string): void {
    this.#sql.exec(
      `update writers set until = ?1 where project = ?2 and until < ?1 - 2500 and exists (select 1 from json_each(operations) where value = ?3)`,
      Date.now() + OPERATIONS_MS,
      project,
      operation,
    )
  }

  /** Waits until the lease of a project is given back or ends, at most until a moment. */
  async #freed(project: string, most: number): Promise<void> {
    const [writer] = this.#sql.exec('select until from writers where project = ?', project).toArray()
    const waiting = this.#waiting.get(project) ?? new Set()
    this.#waiting.set(project, waiting)
    let wake = () => {}
    const woken = new Promise<void>((done) => {
      wake = done
    })
    waiting.add(wake)
    await Promise.race([woken, scheduler.wait(Math.max(1, Math.min(most, Number(writer?.until ?? most)) - Date.now()))])
    waiting.delete(wake)
    if (!waiting.size) this.#waiting.delete(project)
  }
}
