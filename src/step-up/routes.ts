import { accessTokenOf } from '../auth/auth.ts'
import { accessCookieOf } from '../auth/browser.ts'
import { room, route } from '../http/route.ts'
import { SteppedUp, StepUp, stepUp } from './step-up.ts'

/** Stepping up, under /auth of either plane. */
export const stepUpRoutes = room()

stepUpRoutes.openapi(
  route({
    operationId: 'stepUp',
    method: 'post',
    path: '/step-up',
    summary: 'Prove again who the current user is, for what asks for a newer or stronger login',
    permission: null,
    by: 'session',
    // What sets up a second factor asks for a newer login.
    any_password: true,
    trips: 2,
    attempts: 'step-up',
    body: StepUp,
    returns: { 200: SteppedUp },
    problems: ['invalid_credentials', 'illegal_state', 'rate_limited'],
  }),
  async (c) => {
    const claims = await stepUp(c.var.ctx, c.req.valid('json'))
    if (c.var.account === undefined)
      return c.json({ token_type: 'Bearer' as const, ...(await accessTokenOf(c.var.ctx, claims)) }, 200)
    const { answer, cookies } = await accessCookieOf(c.var.ctx, claims)
    c.set('cookies', cookies)
    return c.json(answer, 200)
  },
)
