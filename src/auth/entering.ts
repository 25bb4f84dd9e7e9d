/** How a login is answered, by whichever way somebody came in: tokens, cookies, or what is still missing. */
import { evictOldestAccount, evictOldestDevices } from '../http/cookies.ts'
import type { Ctx } from '../kernel/context.ts'
import { type Entered, tokensOf } from './auth.ts'
import { cookiesOf, type LoginOutcome } from './browser.ts'
import type { Challenged } from './challenge.ts'

/** What refuses a login, by whichever way. */
export const ENTRY_PROBLEMS = [
  'invalid_credentials',
  'user_inactive',
  'password_change_required',
  'forbidden',
  'limit_reached',
  'denied_by_hook',
] as const

/** The answer to a login, and the cookies to set with it; `inCookies`: its tokens are in those. */
export async function answerOf(
  ctx: Ctx,
  request: Request,
  entered: Entered | Challenged,
  inCookies: boolean,
): Promise<{ answer: LoginOutcome; cookies: string[] }> {
  if ('challenge' in entered) return { answer: entered.challenge, cookies: [] }
  if (!inCookies) return { answer: await tokensOf(ctx, entered), cookies: [] }
  const { answer, cookies } = await cookiesOf(ctx, entered)
  const { account } = answer
  return { answer, cookies: [...evictOldestAccount(request, account), ...evictOldestDevices(request, account), ...cookies] }
}
