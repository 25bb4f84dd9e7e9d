/** Threat: probing that nobody notices, or that floods the audit. */
import { sql } from 'drizzle-orm'
import type { Ctx } from '../kernel/context.ts'
import type { Env } from '../kernel/env.ts'
import { log } from '../kernel/log.ts'
import type { Code } from '../kernel/problem.ts'

/** Refusals that are recorded in the audit of the tenant that refused. */
const RECORDED: Code[] = ['forbidden', 'token_wrong_tenant']

/** Records a refusal in the audit of the realm that refused, after the response; rate limited per network. Never fails. */
export async function recordRefusal(env: Env, ctx: Ctx, code: Code): Promise<void> {
  if (!RECORDED.includes(code)) return
  const { success } = await env.REFUSALS.limit({ key: `${ctx.realm.id}:${ctx.request.address}` })
  if (!success) return
  const credential = JSON.stringify(ctx.credential ?? {})
  await ctx
    .call(
      sql`access.record_refusal(${ctx.realm.id}, ${ctx.realm.system_key}, ${credential}::jsonb, ${code}, ${ctx.need.permission}, ${JSON.stringify(ctx.request)}::jsonb)`,
    )
    .catch((error) =>
      log('refusal not recorded', { tenant: ctx.realm.subdomain, trace_id: ctx.request.trace_id, error: String(error) }),
    )
}
