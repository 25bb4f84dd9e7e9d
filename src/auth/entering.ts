/** How a login is answered, by whichever way somebody came in: with tokens or with cookies. */
import type { z } from '@hono/zod-openapi'
import { evictOldestAccount, evictOldestDevices } from '../http/cookies.ts'
import type { Ctx } from '../kernel/context.ts'
import { type Entered, tokensOf } from './auth.ts'
import { cookiesOf, type LoginAnswer } from './browser.ts'

/** The answer to a login, and the cookies to set with it; `inCookies`: its tokens are in those. */
export async function answerOf(
  ctx: Ctx,
  request: Request,
  entered: Entered,
  inCookies: boolean,
): Promise<{ answer: z.infer<typeof LoginAnswer>; cookies: string[] }> {
  if (!inCookies) return { answer: await tokensOf(ctx, entered), cookies: [] }
  const { answer, cookies } = await cookiesOf(ctx, entered)
  const { account } = answer
  return { answer, cookies: [...evictOldestAccount(request, account), ...evictOldestDevices(request, account), ...cookies] }
}
