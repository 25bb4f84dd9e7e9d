/** Where the form of step-up.tsx is sent. */
import { timingSafeEqual } from 'hono/utils/buffer'
import { accessCookieOf } from '../auth/browser.ts'
import { toProblem } from '../kernel/db.ts'
import { Problem } from '../kernel/problem.ts'
import { StepUp, stepUp } from '../step-up/step-up.ts'
import type { Door } from './doors.tsx'
import { proofIn, proofToken, STEP_UP, withoutProof, wrongPassword } from './step-up.tsx'
import { faultsOfProblem, fieldsOf, goTo, passwordAgain, type Visit } from './visit.tsx'

/** Raises the session, and has the browser send what waited. A form that is too old leads to the account. */
async function goOn(visit: Visit): Promise<Response> {
  const { c, ctx, words } = visit
  const sent = await fieldsOf(c)
  const { form, to, password } = proofIn(sent)
  const isOurs = typeof form === 'string' && typeof to === 'string' && (await timingSafeEqual(form, await proofToken(visit, to)))
  if (!isOurs) return goTo(visit, '/account')
  const wanted = withoutProof(sent)
  const proof = StepUp.safeParse({ password })
  if (!proof.success) return passwordAgain(visit, { to, wanted, faults: wrongPassword(words.step_up.wrong), status: 400 })
  try {
    const { cookies } = await accessCookieOf(ctx, await stepUp(ctx, proof.data))
    c.set('cookies', [...(c.get('cookies') ?? []), ...cookies])
  } catch (error) {
    const problem = toProblem(error)
    if (!(problem instanceof Problem) || !['invalid_credentials', 'rate_limited'].includes(problem.code)) throw error
    c.error = problem
    const isWrong = problem.code === 'invalid_credentials'
    const faults = isWrong ? wrongPassword(words.step_up.wrong) : faultsOfProblem(visit, problem, undefined)
    return passwordAgain(visit, { to, wanted, faults, status: problem.status })
  }
  return c.redirect(to, 307)
}

export const stepUpDoors: Door[] = [
  { method: 'GET', path: STEP_UP, trips: 0, answer: async (visit) => goTo(visit, '/account') },
  { method: 'POST', path: STEP_UP, session: true, any_password: true, trips: 2, attempts: 'step-up', answer: goOn },
]
