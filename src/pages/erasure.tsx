/**
 * Cancelling an erasure by its mail, without a login: whoever reads the mail keeps the account. As with a reset, the token comes in the
 * fragment, or is typed. Nothing is cancelled by opening the link: programs that look through mails open links.
 */
import { cancelErasureByToken, ErasureCancellation } from '../personal/erasing.ts'
import type { Door } from './doors.tsx'
import { type Faults, NO_FAULTS, Submit, Summary } from './layout.tsx'
import { termsOf } from './look.ts'
import { CodeField } from './reset.tsx'
import { FormToken, goTo, handle, show, type Visit } from './visit.tsx'

const CANCEL = '/cancel-erasure'

type Form = { faults?: Faults; status?: number; token?: string | undefined }

async function cancelPage(visit: Visit, { faults = NO_FAULTS, status = 200, token }: Form = {}): Promise<Response> {
  const { words } = visit
  const { look } = await termsOf(visit.ctx)
  return show(
    visit,
    { title: words.erasure.title, look, faults, status },
    <div class="card">
      <h1>{words.erasure.title}</h1>
      <p class="lead">{words.erasure.lead}</p>
      <Summary words={words} faults={faults} />
      <form method="post" action={CANCEL}>
        <FormToken visit={visit} action={CANCEL} is_for_anybody />
        <CodeField words={words} faults={faults} token={token} />
        <Submit words={words}>{words.erasure.submit}</Submit>
      </form>
    </div>,
  )
}

const cancel = (visit: Visit) =>
  handle(visit, {
    action: CANCEL,
    schema: ErasureCancellation.strict(),
    done: async (sent) => {
      await cancelErasureByToken(visit.ctx, sent)
      return goTo(visit, '/login?said=kept')
    },
    again: (faults, status, { token }) => cancelPage(visit, { faults, status, token }),
  })

export const erasureDoors: Door[] = [
  { method: 'GET', path: CANCEL, trips: 1, answer: (visit) => cancelPage(visit) },
  { method: 'POST', path: CANCEL, trips: 1, attempts: 'verify', answer: cancel },
]
