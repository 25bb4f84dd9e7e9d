/** Where the form of step-up.tsx is sent. */
import { timingSafeEqual } from 'hono/utils/buffer'
import { accessCookieOf } from '../auth/browser.ts'
import { Code } from '../factors/factors.ts'
import { toProblem } from '../kernel/db.ts'
import { Problem } from '../kernel/problem.ts'
import { StepUp, stepUp } from '../step-up/step-up.ts'
import type { Door } from './doors.tsx'
import { proofIn, proofToken, STEP_UP, withoutProof, wrongProof } from './step-up.tsx'
import { faultsOfProblem, fieldsOf, goTo, proofAgain, type Visit } from './visit.tsx'

/** The proof that was sent, as the API takes it; which one, for what is said of it. */
function proofOf({ password, code, passkey }: ReturnType<typeof proofIn>) {
  if (passkey !== undefined) return { which: 'passkey' as const, proof: { passkey: parsed(passkey) } }
  if (code === undefined) return { which: 'password' as const, proof: { password } }
  return { which: 'code' as const, proof: Code.safeParse(code).success ? { code } : { backup_code: code } }
}

function parsed(passkey: unknown): unknown {
  try {
    return JSON.parse(String(passkey))
  } catch {
    return null
  }
}

/** Raises the session, and has the browser send what waited. A form that is too old leads to the account. */
async function goOn(visit: Visit): Promise<Response> {
  const { c, ctx, words } = visit
  const sent = await fieldsOf(c)
  const { form, to } = proofIn(sent)
  const isOurs = typeof form === 'string' && typeof to === 'string' && (await timingSafeEqual(form, await proofToken(visit, to)))
  if (!isOurs) return goTo(visit, '/account')
  const wanted = withoutProof(sent)
  const { which, proof } = proofOf(proofIn(sent))
  const read = StepUp.safeParse(proof)
  if (!read.success) return proofAgain(visit, { to, wanted, faults: wrongProof(which, words), status: 400 })
  try {
    const { cookies } = await accessCookieOf(ctx, await stepUp(ctx, read.data))
    c.set('cookies', [...(c.get('cookies') ?? []), ...cookies])
  } catch (error) {
    const problem = toProblem(error)
    if (!(problem instanceof Problem) || !['invalid_credentials', 'rate_limited', 'illegal_state'].includes(problem.code))
      throw error
    c.error = problem
    const isWrong = problem.code === 'invalid_credentials'
    const faults = isWrong ? wrongProof(which, words) : faultsOfProblem(visit, problem, undefined)
    return proofAgain(visit, { to, wanted, faults, status: problem.status })
  }
  return c.redirect(to, 307)
}

export const stepUpDoors: Door[] = [
  { method: 'GET', path: STEP_UP, trips: 0, answer: async (visit) => goTo(visit, '/account') },
  { method: 'POST', path: STEP_UP, session: true, any_password: true, trips: 2, attempts: 'step-up', answer: goOn },
]
