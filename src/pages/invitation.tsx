/**
 * Accepting an invitation. The link of the mail has its token in the fragment, or one types the code; what it is for is shown before
 * anything is accepted. A new person chooses a password, or makes a passkey. Who has an account logs in and accepts then, and the token waits for that in a
 * cookie of this browser, because it must be in no address. Threat: somebody is moved by a link that they only opened.
 */
import { z } from '@hono/zod-openapi'
import {
  Acceptance,
  acceptInvitation,
  joinByInvitation,
  PreviewRequest,
  previewInvitation,
  withPasskeyOptions,
} from '../invitations/accepting.ts'
import { NewCredential } from '../passkeys/wire.ts'
import { profileWith } from './account.tsx'
import { pageCookie, readPageCookie } from './browser.ts'
import type { Door } from './doors.tsx'
import { type Faults, Field, Moment, NO_FAULTS, PasswordField, Submit, Summary } from './layout.tsx'
import { type Look, termsOf } from './look.ts'
import { Credential, PasskeyForm } from './passkey-form.tsx'
import { CodeField } from './reset.tsx'
import { FormToken, goTo, handle, show, type Visit } from './visit.tsx'

const INVITATION = '/invitation'
const SHOW = '/invitation/show'
const ACCEPT = '/invitation/accept'
const JOIN = '/invitation/join'
const Wanted = Acceptance.pick({ token: true, password: true, given_name: true, family_name: true })
  .extend({ passkey: Credential(NewCredential).optional() })
  .strict()

type Form = { faults?: Faults; status?: number; token?: string | undefined }
type Shown = Awaited<ReturnType<typeof previewInvitation>>

/** Takes the code. */
async function codePage(visit: Visit, { faults = NO_FAULTS, status = 200, token }: Form = {}): Promise<Response> {
  const { words } = visit
  const { look } = await termsOf(visit.ctx)
  return show(
    visit,
    { title: words.invitation.title, look, faults, status },
    <div class="card">
      <h1>{words.invitation.title}</h1>
      <p class="lead">{words.invitation.lead}</p>
      <Summary words={words} faults={faults} />
      <form method="post" action={SHOW}>
        <FormToken visit={visit} action={SHOW} />
        <CodeField words={words} faults={faults} token={token} />
        <Submit words={words}>{words.invitation.go_on}</Submit>
      </form>
    </div>,
  )
}

const Facts = ({ visit: { words, language }, invitation, look }: { visit: Visit; invitation: Shown; look: Look }) => (
  <dl class="facts">
    <dt>{words.invitation.by}</dt>
    <dd>{invitation.inviter}</dd>
    <dt>{words.invitation.to}</dt>
    <dd>{invitation.organization ? `${invitation.organization} (${look.name})` : look.name}</dd>
    <dt>{words.email}</dt>
    <dd>{invitation.email}</dd>
    <dt>{words.invitation.until}</dt>
    <dd>
      <Moment at={invitation.expires_at} language={language.tag} />
    </dd>
  </dl>
)

/** What the token is for, and what its reader does next. */
async function shownPage(
  visit: Visit,
  token: string,
  { faults = NO_FAULTS, status = 200, sent = {} as Record<string, string> } = {},
) {
  const { words } = visit
  const { invitation, options } = await withPasskeyOptions(visit.ctx, { token })
  const { look, policy } = await termsOf(visit.ctx)
  const { title } = words.invitation
  // In the cookie until somebody has logged in; a new person's goes with the form.
  if (options === null) visit.c.set('cookies', [pageCookie('invitation', token)])
  const name = (field: 'given_name' | 'family_name', autocomplete: string) => (
    <Field
      name={field}
      label={words.invitation[field]}
      faults={faults}
      value={sent[field] ?? invitation[field] ?? undefined}
      autocomplete={autocomplete}
      maxlength={255}
    />
  )
  return show(
    visit,
    { title, look, faults, status },
    <div class="card">
      <h1>{title}</h1>
      <Facts visit={visit} invitation={invitation} look={look} />
      <Summary words={words} faults={faults} />
      {options === null ? (
        <>
          <p>{words.invitation.known}</p>
          <a class="button" href={JOIN}>
            {words.invitation.log_in}
          </a>
        </>
      ) : (
        <>
          <form method="post" action={ACCEPT}>
            <FormToken visit={visit} action={ACCEPT} />
            <input type="hidden" name="token" value={token} />
            {name('given_name', 'given-name')}
            {name('family_name', 'family-name')}
            <PasswordField words={words} name="password" label={words.new_password} faults={faults} policy={policy} />
            <Submit words={words}>{words.invitation.submit}</Submit>
          </form>
          {/* For new options its browser comes by the link of the mail. */}
          <PasskeyForm
            words={words}
            action={ACCEPT}
            verb="create"
            options={options}
            again={`${INVITATION}#${new URLSearchParams({ token })}`}
            field="passkey"
          >
            <FormToken visit={visit} action={ACCEPT} />
            <input type="hidden" name="token" value={token} />
            {(['given_name', 'family_name'] as const).map((field) => (
              <input type="hidden" name={field} value={sent[field] ?? invitation[field] ?? ''} data-copy={field} />
            ))}
            <p class="hint">{words.invitation.passkey_lead}</p>
            <Submit words={words} class="quiet">
              {words.invitation.submit_passkey}
            </Submit>
          </PasskeyForm>
        </>
      )}
    </div>,
  )
}

const look = (visit: Visit) =>
  handle(visit, {
    action: SHOW,
    schema: PreviewRequest.strict(),
    done: ({ token }) => shownPage(visit, token.trim()),
    again: (faults, status, { token }) => codePage(visit, { faults, status, token }),
  })

const accept = (visit: Visit) =>
  handle(visit, {
    action: ACCEPT,
    schema: Wanted,
    done: async (wanted) => {
      await acceptInvitation(visit.ctx, wanted)
      return goTo(visit, '/login?said=invited')
    },
    // A token that is not valid any more is no fault of the form that has it.
    again: (faults, status, { token, password: _, passkey: __, ...sent }) =>
      token === undefined || faults.at.token
        ? codePage(visit, { faults, status, token })
        : shownPage(visit, token, { faults, status, sent }).catch(() => codePage(visit, { faults, status, token })),
  })

/** Who is logged in sees as whom they accept. */
async function joinPage(visit: Visit, faults: Faults = NO_FAULTS, status = 200): Promise<Response> {
  const { words } = visit
  const token = readPageCookie(visit.c.req.raw, 'invitation')
  if (token === null) return goTo(visit, INVITATION)
  const { profile, terms } = await profileWith(visit)
  const invitation = await previewInvitation(visit.ctx, { token }).catch(() => null)
  if (!invitation) return goTo(visit, INVITATION)
  const { title, join_lead } = words.invitation
  return show(
    visit,
    { title, look: terms.look, faults, status },
    <div class="card">
      <h1>{title}</h1>
      <p class="lead">{join_lead.replace('{email}', () => profile.email)}</p>
      <Facts visit={visit} invitation={invitation} look={terms.look} />
      <Summary words={words} faults={faults} />
      {profile.email === invitation.email && (
        <form method="post" action={JOIN}>
          <FormToken visit={visit} action={JOIN} />
          <Submit words={words}>{words.invitation.submit}</Submit>
        </form>
      )}
      <a class="button quiet" href={`/login?${new URLSearchParams({ add: '1', next: JOIN })}`}>
        {words.invitation.other_account}
      </a>
    </div>,
  )
}

const join = (visit: Visit) =>
  handle(visit, {
    action: JOIN,
    schema: z.object({}).strict(),
    done: async () => {
      await joinByInvitation(visit.ctx, readPageCookie(visit.c.req.raw, 'invitation') ?? '')
      visit.c.set('cookies', [...(visit.c.get('cookies') ?? []), pageCookie('invitation', '')])
      return goTo(visit, '/account?said=joined')
    },
    again: (faults, status) => joinPage(visit, faults, status),
  })

export const invitationDoors: Door[] = [
  { method: 'GET', path: INVITATION, trips: 1, answer: (visit) => codePage(visit) },
  { method: 'GET', path: SHOW, trips: 0, answer: async (visit) => goTo(visit, INVITATION) },
  { method: 'POST', path: SHOW, trips: 2, attempts: 'verify', answer: look },
  { method: 'GET', path: ACCEPT, trips: 0, answer: async (visit) => goTo(visit, INVITATION) },
  { method: 'POST', path: ACCEPT, trips: 2, attempts: 'verify', answer: accept },
  { method: 'GET', path: JOIN, session: true, trips: 2, answer: (visit) => joinPage(visit) },
  { method: 'POST', path: JOIN, session: true, trips: 1, attempts: 'verify', answer: join },
]
