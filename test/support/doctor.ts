/** The doctor, as an operator asks it. The stack is every file's: each test looks at its own subjects alone. */
import { sql } from 'drizzle-orm'
import { expect, vi } from 'vitest'
import { CHECKS } from '../../src/tenants/doctor/findings.ts'
import { master } from './databases.ts'
import { call, makeTenant, operatorToken } from './people.ts'
import { expectProblem } from './refusal.ts'

export type Finding = Record<'check' | 'code' | 'subject' | 'detail', string> & { fix: string | null; tenant_id: string | null }

/** What changed in the last two minutes is not judged in KV. */
export const settle = (name: string) =>
  master(sql`update platform.tenants set updated_at = now() - interval '3 minutes' where subdomain = ${name}`)

/** A tenant that is well, and its host. */
export async function patient(name: string) {
  const { id } = await makeTenant(name, {}, await operatorToken())
  await settle(name)
  const [host] = await master(
    sql`select h.id, h.name, h.project_id, h.branch_id from platform.hosts h join platform.tenants t on t.host_id = h.id where t.id = ${id}`,
  )
  return { id: String(id), host: host as Record<'id' | 'name' | 'project_id' | 'branch_id', string> }
}

/** All findings of a check, page by page. */
export async function examine(check: string, limit = 100): Promise<Finding[]> {
  const token = await operatorToken()
  const found: Finding[] = []
  let cursor: string | null = null
  do {
    const query: string = `check=${check}&limit=${limit}${cursor ? `&cursor=${cursor}` : ''}`
    const { status, body } = await call('', `/platform/v1/doctor?${query}`, { token })
    expect(status, JSON.stringify(body)).toBe(200)
    found.push(...body.data)
    cursor = body.next_cursor
  } while (cursor)
  return found
}
/** Whatever any check finds that names one of these: ids, names, parts of them. */
export async function findingsOf(...marks: string[]): Promise<Finding[]> {
  const found = (await Promise.all(CHECKS.map((check) => examine(check)))).flat()
  return found.filter((one) => marks.some((mark) => JSON.stringify(one).includes(mark)))
}
export const about = async (check: string, subject: string) => (await examine(check)).filter((found) => found.subject === subject)
export const codes = async (check: string, subject: string) => (await about(check, subject)).map(({ code }) => code)

export const fix = async (code: string, subject: string) =>
  call('', '/platform/v1/doctor/fix', { token: await operatorToken(), body: { code, subject } })
export const remove = async (code: string, subject: string, confirm: string) =>
  call('', '/platform/v1/doctor/remove', { token: await operatorToken(), body: { code, subject, confirm } })

/** Who fixed a subject last, as the platform's audit has it. */
export const written = async (subject: string) =>
  (
    await master(
      sql`select l.action, u.email, d.after from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id left join freehold.users u on u.id = l.user_id
          where l.activity_type = 'DOCTOR_FIXED' and d.after ->> 'subject' = ${subject} order by l.at desc limit 1`,
    )
  )[0]

/** Planted, found, fixed, gone; and not to be fixed twice. */
export async function mended(check: string, code: string, subject: string) {
  expect(await codes(check, subject)).toEqual([code])
  const answer = await fix(code, subject)
  expect([answer.status, answer.body.code], JSON.stringify(answer.body)).toEqual([200, code])
  await vi.waitUntil(async () => !(await codes(check, subject)).includes(code), { timeout: 60_000, interval: 200 })
  expectProblem(await fix(code, subject), 409, 'illegal_state')
  expect(await written(subject)).toEqual({ action: 'fix', email: 'ada@freehold.test', after: { code, subject } })
}
