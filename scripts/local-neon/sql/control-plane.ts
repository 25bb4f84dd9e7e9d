/**
 * Neon forwards changes of roles to its control plane before it commits them (neon_ddl_handler.c), and aborts the transaction when that
 * answers anything but 200. So a change of roles can be refused that Postgres would make, and one that was forwarded and not committed
 * comes back as the control plane makes roles: with all privileges of an API role.
 */
import { escapeIdentifier, escapeLiteral } from 'pg'
import type { Fault } from '../fault.ts'
import { type Limits, tooManyRoles } from '../limits.ts'
import { now } from '../state/records.ts'
import type { Context } from '../work/context.ts'
import { rolesOf } from '../work/lookup.ts'
import { NAME, readName } from './names.ts'
import type { Session } from './session.ts'

/** The commit failed after the change was forwarded, and the answer was lost. */
export class CommitLost extends Error {}

export interface Forwarding {
  context: Pick<Context, 'admin' | 'store'>
  branch: string
  limits: Limits
  texts: string[]
  /** What is to go wrong with this change. */
  fault: Fault | undefined
}

/** What to do before the transaction of a session commits: fails as Neon's hook does when the control plane refuses the change. */
export async function forwarding({ context, branch, limits, texts, fault }: Forwarding) {
  const before = await rolesIn(context)
  return async (session: Session) => {
    if (fault?.kind === 'refuse_roles') throw refused(fault.status ?? 423, fault.body)
    // Without such a role Postgres does nothing, and Neon asks its control plane all the same.
    if (texts.flatMap(droppedIfExist).some((name) => !before.has(name))) throw refused(404)
    const [result] = await session.execute([{ text: 'select rolname from pg_catalog.pg_roles', values: [] }], MANY_BYTES)
    const all = (result?.rows ?? []).map(([name]) => String(name))
    const made = all.filter((name) => !before.has(name) && texts.some((text) => text.includes(name)))
    const count = rolesOf(context.store, branch).length + made.length
    if (made.length && count > limits.rolesPerBranch) throw refused(422, tooManyRoles(limits))
    if (fault?.kind !== 'bring_back_roles') return
    await session.run('rollback')
    for (const name of made) await bringBack(context, branch, name, passwordOf(name, texts))
    throw new CommitLost()
  }
}

const MANY_BYTES = Number.MAX_SAFE_INTEGER

const rolesIn = async ({ admin }: Forwarding['context']) => new Set((await admin.names()).roles)

function refused(status: number, body = '') {
  const message = `Received HTTP code ${status} from control plane${body && `: ${body}`}`
  const from = { severity: 'ERROR', file: 'neon_ddl_handler.c', routine: 'SendDeltasToControlPlane' }
  return Object.assign(new Error(message), { code: 'XX000', ...from })
}

const DROPPED = new RegExp(String.raw`\bdrop\s+(?:role|user|group)\s+if\s+exists\s+(${NAME}(?:\s*,\s*${NAME})*)`, 'giu')

const droppedIfExist = (text: string) =>
  [...text.matchAll(DROPPED)].flatMap(([, names = '']) =>
    [...names.matchAll(new RegExp(NAME, 'giu'))].map(([name]) => readName(name)),
  )

function passwordOf(name: string, texts: string[]) {
  const made = new RegExp(String.raw`create\s+role\s+"?${name}"?\s[^;]*?password\s+'([^']*)'`, 'i')
  return texts.map((text) => made.exec(text)?.[1]).find((password) => password !== undefined)
}

async function bringBack({ admin, store }: Forwarding['context'], branch_id: string, name: string, password: string | undefined) {
  const login = password === undefined ? 'nologin' : `login password ${escapeLiteral(password)}`
  await admin.run(
    `create role ${escapeIdentifier(name)} inherit createrole createdb bypassrls replication in role neon_superuser ${login}`,
  )
  const known = password === undefined ? {} : { password, live_password: password }
  const at = { created_at: now(), updated_at: now() }
  store.put('role', {
    ...{ branch_id, name, real_name: name, made_by: 'api', no_login: password === undefined, deleting: false },
    ...known,
    ...at,
  })
}
