/**
 * Asking hooks before something is done. Threat: a request waits without end for somebody else's server, or holds a transaction of the
 * tenant's database meanwhile; a hook is asked for what was not done, or not asked. So the database says what is to be asked, by undoing
 * the transaction (asking.sql); the Worker asks for 2 s, and sends the same again with the answer. Where the tenant has no hook,
 * nothing of this happens and no round trip is spent.
 */
import { type SQL, sql } from 'drizzle-orm'
import type { BatchItem, BatchResponse } from 'drizzle-orm/batch'
import type { Config } from '../kernel/config.ts'
import type { Ctx } from '../kernel/context.ts'
import { build, dbError } from '../kernel/db.ts'
import { log } from '../kernel/log.ts'
import { openSecrets, post, type Target } from '../webhooks/sending.ts'
import { type Said, saidIn } from './answer.ts'

const PATIENCE_MS = 2_000
/** A request does one thing, which may be two acts: who accepts an invitation becomes a user. */
const MOST_ASKED = 3

/** What the secret of a hook is encrypted for. */
export const secretOf = (id: string) => `hook_secret:${id}`

export type HookTarget = Target & { act: string; on_failure: 'open' | 'closed' }
type Needed = { hook_id: string; act: string; subject: string; about: Record<string, unknown> }
type Answer = Pick<Needed, 'hook_id' | 'act' | 'subject'> & {
  is_allowed: boolean
  is_failed: boolean
  said: string | null
  claims: Record<string, unknown> | null
}
export type Asked = { said: Said | null; status: number | null; error: string | null; duration_ms: number }

const REFUSED = 'A hook of this tenant refuses this.'
const SILENT = 'A hook of this tenant does not answer, and nothing goes on without it.'

/** Asks a hook, and says what it answered. Never fails. */
export async function askHook(
  config: Config,
  realm: Pick<Ctx['realm'], 'id' | 'subdomain'>,
  hook: HookTarget,
  about: Record<string, unknown>,
): Promise<Asked> {
  const asked_from = Date.now()
  const ended = (rest: Omit<Asked, 'duration_ms'>): Asked => ({ ...rest, duration_ms: Math.max(0, Date.now() - asked_from) })
  // A key of the ring that is gone is a failure of the hook: `on_failure` decides, and whoever may mend a closed one comes in.
  const secrets = await openSecrets(config, realm.id, hook, secretOf).catch((cause) => {
    log('hook not asked', { tenant: realm.subdomain, hook: hook.id, error: String(cause) })
    return null
  })
  if (!secrets) return ended({ said: null, status: null, error: 'the message could not be made' })
  const message = {
    id: `hook_${crypto.randomUUID()}`,
    type: hook.act,
    at: new Date().toISOString(),
    text: JSON.stringify({ v: 1, tenant: realm.subdomain, hook_id: hook.id, ...about }),
  }
  const { status, error, read } = await post(config, hook.url, secrets, message, PATIENCE_MS, (answer) =>
    saidIn(answer, hook.act),
  )
  if (error !== null) return ended({ said: null, status, error })
  return ended({ said: read ?? null, status, error: read ? null : 'the answer is not one of a hook' })
}

/** Has a request ask the hooks of what it does. One round trip for each hook, and one for the transaction that is sent again. */
export function askingHooks(ctx: Ctx): Ctx {
  const { run, call } = ctx
  const answers: Answer[] = []
  const { id, system_key } = ctx.realm
  const answered = () => sql`access.hook_answered(${id}, ${system_key}, ${JSON.stringify(answers)}::jsonb)`

  async function withAnswers<T>(plain: () => Promise<T>, again: () => Promise<T>): Promise<T> {
    for (let turn = 0; ; turn++)
      try {
        return await (answers.length ? again() : plain())
      } catch (error) {
        const needed = neededBy(error)
        if (!needed || turn === MOST_ASKED) throw error
        answers.push(await answerTo(needed))
      }
  }

  async function answerTo({ about, ...needed }: Needed): Promise<Answer> {
    const hook = await call<HookTarget | null>(sql`access.hook_target(${id}, ${system_key}, ${needed.hook_id}::uuid)`)
    // It was removed meanwhile.
    if (!hook) return { ...needed, is_allowed: true, is_failed: false, said: null, claims: null }
    const { trace_id } = ctx.request
    const { said, error, duration_ms } = await askHook(ctx.config, ctx.realm, hook, { ...about, trace_id })
    const decision = said?.decision ?? (hook.on_failure === 'open' ? 'allow' : 'deny')
    const outcome = said ? decision : 'failed'
    log('hook asked', { tenant: ctx.realm.subdomain, trace_id, hook: hook.id, act: hook.act, outcome, error, duration_ms })
    return {
      ...needed,
      is_allowed: decision === 'allow',
      is_failed: said === null,
      said: said === null ? SILENT : said.decision === 'deny' ? (said.reason ?? REFUSED) : null,
      claims: (said?.decision === 'allow' && said.claims) || null,
    }
  }

  ctx.run = <T extends readonly BatchItem<'pg'>[]>(...statements: T) =>
    withAnswers(
      () => run(...statements),
      async () => {
        const [, ...results] = await run(build.execute(sql`select ${answered()}`), ...statements)
        return results as BatchResponse<T>
      },
    )
  ctx.call = <T>(asked: SQL) =>
    withAnswers(
      () => call<T>(asked),
      // `offset 0` and the condition: the answers are taken before the function runs.
      () => call<T>(sql`(select ${asked} from (select ${answered()} as is_taken offset 0) h where h.is_taken)`),
    )
  return ctx
}

/** What a transaction was undone for; null: for something else. */
function neededBy(error: unknown): Needed | null {
  const e = dbError(error)
  return e?.code === 'FH40H' && e.detail ? (JSON.parse(e.detail) as Needed) : null
}
