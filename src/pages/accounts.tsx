/**
 * The accounts that are logged in in one browser, and the way from one to another. Threat: a page elsewhere changes whom the next page acts
 * for. So to switch is a form of our own, and leads only to an account whose cookies came with it. What the others are called this browser
 * keeps: no page asks the database about somebody whom it does not act for.
 */
import { z } from '@hono/zod-openapi'
import { accountsIn } from '../http/cookies.ts'
import { Problem } from '../kernel/problem.ts'
import { namesIn, pageCookie } from './browser.ts'
import type { Door } from './doors.tsx'
import { Submit } from './layout.tsx'
import { FormToken, goTo, handle, type Visit } from './visit.tsx'

const SWITCH = '/account/switch'

/** The other accounts of this browser, each with a button that goes on as it; nothing where there are none. */
export const OtherAccounts = ({ visit }: { visit: Visit }) => {
  const { c, words, account } = visit
  const others = accountsIn(c.req.raw).filter((held) => held.account !== account)
  if (!others.length) return null
  const names = namesIn(c.req.raw)
  const { title, go_on, go_on_as, unnamed } = words.accounts
  return (
    <section class="card">
      <h2>{title}</h2>
      <ul class="rows">
        {others.map((held) => {
          const name = names[held.account] ?? unnamed.replace('{id}', () => held.account.slice(0, 8))
          return (
            <li>
              <div class="what">{name}</div>
              <form method="post" action={SWITCH}>
                <FormToken visit={visit} action={SWITCH} is_for_anybody />
                <input type="hidden" name="account" value={held.account} />
                <Submit words={words} class="quiet small" aria-label={go_on_as.replace('{name}', () => name)}>
                  {go_on}
                </Submit>
              </form>
            </li>
          )
        })}
      </ul>
    </section>
  )
}

/** Pages act for the account from now on, if it is logged in in this browser. Whether it still is its database says. */
const switchTo = (visit: Visit) =>
  handle(visit, {
    action: SWITCH,
    schema: z.object({ account: z.uuid().toLowerCase() }).strict(),
    done: async ({ account }) => {
      const { c } = visit
      if (!accountsIn(c.req.raw).some((held) => held.account === account)) return goTo(visit, '/login')
      c.set('cookies', [pageCookie('account', account)])
      return goTo(visit, '/account')
    },
    again: async (_, status) => {
      throw new Problem(status === 403 ? 'forbidden' : 'invalid_request')
    },
  })

export const switchDoors: Door[] = [{ method: 'POST', path: SWITCH, trips: 0, answer: switchTo }]
