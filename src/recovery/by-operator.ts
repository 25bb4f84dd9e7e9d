/**
 * A password reset in a tenant by an operator of the platform, where nobody inside can help. Threat: whoever sees a password becomes its
 * user, so an operator who only manages tenants gets into all of them. So it needs a permission of its own (`tenant:recover`), which owners
 * of the platform hold; both audits name the operator, the platform's before anything is done; the user's sessions and API keys end, they
 * are told by mail, and must choose a password of their own at the first login.
 */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import type { Ctx } from '../kernel/context.ts'
import { batch, dbError, toProblem } from '../kernel/db.ts'
import { invalid, Problem } from '../kernel/problem.ts'
import { Email } from '../names/addresses.ts'
import { hash } from '../passwords/hash.ts'
import { brokenRules, digestsUnder, generateFor, issuesOf, type PasswordContext, USED } from '../passwords/policy.ts'
import { mustBeOpen } from '../tenants/fence/fence.ts'
import { enterToReset, type Inside } from '../tenants/lifecycle/inside.ts'
import { reportActivity } from '../tenants/maintenance/queue.ts'
import { Password, type ResetDone } from './recovery.ts'

export const OperatorReset = z
  .object({
    user_id: z.uuid().optional(),
    email: Email.optional().openapi({ description: "Instead of user_id. Without either: the tenant's admin_email" }),
    new_password: Password.optional().openapi({ description: 'Without it one is generated, and returned only once' }),
  })
  .openapi('OperatorReset')
type OperatorReset = z.infer<typeof OperatorReset>

type Found = { known: PasswordContext & { id: string } }

/**
 * Sets a first password of a user of a tenant (docs/decisions/0041): the given one, or a generated one that is returned only once. Ends their sessions
 * and API keys, and clears their lockouts. Two round trips to the master and two to the tenant's database; `tenant:recover`. Fails with
 * not_found, illegal_state, invalid_request (every rule of the tenant that the password breaks), tenant_upgrading.
 */
export async function resetByOperator(ctx: Ctx, tenant_id: string, wanted: OperatorReset): Promise<z.infer<typeof ResetDone>> {
  const { user_id, email, new_password } = wanted
  if (user_id !== undefined && email !== undefined) throw invalid('email', 'cannot be given with user_id')
  const inside = await enterToReset(ctx, tenant_id, user_id ?? email ?? null)
  const { tenant } = inside
  const at = sql`${tenant.id}::uuid`
  const whose = user_id ? sql`u.id = ${user_id}` : sql`u.email = ${email ?? tenant.admin_email}`
  const [, [found] = []] = await work(inside, [
    sql`select jsonb_build_object('id', u.id, 'user', access.personal_details(u), 'policy', access.policy_of(t), 'history', access.history_parameters(u.id, t)) as known
        from freehold.tenant t, freehold.users u where t.id = ${at} and ${whose}`,
  ])
  if (!found) throw new Problem('not_found', 'There is no user like this in the tenant.')
  const { id, user, policy, history } = (found as Found).known
  const password = new_password ?? (await generateFor(user, policy, tenant))
  if (new_password !== undefined) {
    // What a password is compared with is the tenant's: its name, its address, its policy.
    const rules = await brokenRules({ ...ctx, realm: { ...ctx.realm, ...tenant } }, new_password, user, policy)
    if (rules.length) throw refused(rules)
  }
  const renewed = await hash(password, ctx.config.PASSWORD_HASH_ITERATIONS)
  // A generated one is not in the history.
  const digests = new_password === undefined ? {} : await digestsUnder(password, history)
  const actor = `${inside.operator} (platform)`
  const results = await work(inside, [
    sql`select access.set_audit_actor(null, ${actor}, ${JSON.stringify(ctx.request)}::jsonb)`,
    sql`select access.lock_login(${id})`,
    sql`select case when access.was_used(u.id, t, ${JSON.stringify(digests)}::jsonb) then 'used'
          when access.set_recovered_password(u, ${renewed}, true, true, 'reset_by_administrator')::text is not null then 'done' end as outcome
        from freehold.tenant t, freehold.users u where t.id = ${at} and u.id = ${id}`,
    sql`select access.enqueue_mail('password_changed', u.id, u.email) from freehold.users u
        where u.id = ${id} and access.is_present(u) and u.password_changed_at = now()`,
  ])
  const outcome = results[3]?.[0]?.outcome
  if (outcome === 'used') throw refused([USED])
  if (outcome !== 'done') throw new Problem('not_found', 'There is no user like this in the tenant.')
  // Its mail goes out with the tenant's maintenance.
  const reported = reportActivity(ctx.config, tenant.id)
  if (reported) ctx.later(reported)
  return { user_id: id, must_change_password: true, ...(new_password === undefined && { initial_password: password }) }
}

const refused = (rules: string[]) => new Problem('invalid_request', undefined, { errors: issuesOf('new_password', rules) })

/**
 * Runs statements in the tenant's database as its owner, unless it is being exchanged: what is written then is lost. The results begin with
 * that of `mustBeOpen`. Fails with database_unavailable, and with tenant_upgrading where its schema has no such function yet.
 */
const work = ({ owner_url }: Inside, statements: Parameters<typeof batch>[1]) =>
  batch(owner_url, [sql`set local role freehold_owner`, mustBeOpen, ...statements])
    .then(([, ...results]) => results)
    .catch((error: unknown) => {
      if (dbError(error)?.code !== '42883') throw toProblem(error)
      throw new Problem('tenant_upgrading', undefined, { cause: error, headers: { 'Retry-After': '60' } })
    })
