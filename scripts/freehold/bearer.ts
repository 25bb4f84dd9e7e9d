/**
 * The tokens that calls carry: one that was given, one of a login for this command alone, or those of a profile. A refresh token is used
 * once, so calls of this process that find theirs expired wait for one exchange, and processes take turns and read the profile again
 * before they exchange anything.
 */
import { z } from 'zod'
import type { Credentials } from './credentials.ts'
import { ApiProblem, Failure } from './failure.ts'
import { plain, tell } from './output.ts'
import { type Named, readProfile, withLock, writeProfile } from './profiles.ts'
import { ask, isAsked } from './prompt.ts'
import { type Plane, send, shaped } from './wire.ts'

export type Bearer = {
  /** A token that is not known to be expired. */
  token(): Promise<string>
  /** Another token in place of `used`, which has expired; null: there is none. */
  renew(used: string): Promise<string | null>
  /** Has the user prove again who they are, where a call asks for a newer login; false: nobody can. Fails when the proof is wrong. */
  prove(): Promise<boolean>
  /** A refusal, with what to do about it. */
  explain(error: unknown): unknown
  /** Ends what was begun for this command alone. */
  end(): Promise<void>
}

/** What a login and an exchange answer. */
export const Tokens = z.object({
  access_token: z.string(),
  refresh_token: z.string(),
  expires_in: z.number(),
  must_change_password: z.boolean(),
  device_token: z.string().optional(),
})
const MfaRequired = z.object({ mfa_required: z.literal(true), methods: z.array(z.string()) })
const Entered = Tokens.pick({ access_token: true, must_change_password: true })

/** A token is exchanged this long before it ends: a stream is not sent again. */
const EARLY_MS = 30_000

export function bearerWith(plane: Plane, credentials: Credentials): Bearer {
  if ('token' in credentials) return given(credentials.token)
  return 'profile' in credentials ? ofProfile(plane, credentials.profile) : byPassword(plane, credentials)
}

const asItIs = (error: unknown) => error
const given = (token: string): Bearer => ({
  token: async () => token,
  renew: async () => null,
  prove: async () => false,
  explain: asItIs,
  end: async () => {},
})

/**
 * Logs in at the first call and ends that session afterwards: the number of sessions per user is limited, and a new one ends the
 * oldest.
 */
function byPassword(plane: Plane, credentials: { email: string; password: string; from: string }): Bearer {
  let session: Promise<string> | null = null
  const token = () => {
    session ??= logIn(plane, credentials)
    return session
  }
  return {
    token,
    renew: async (used) => {
      if ((await session) === used) session = null
      return token()
    },
    prove: async () => {
      await stepUp(plane, credentials.password, await token())
      return true
    },
    explain: asItIs,
    end: async () => {
      const opened = await session?.catch(() => null)
      if (opened) await send(plane, 'POST', '/auth/logout', { token: opened }).catch(() => undefined)
    },
  }
}

/** The session counts as fresh afterwards; the tokens that it has stay good. */
const stepUp = (plane: Plane, password: string, token: string) =>
  send(plane, 'POST', '/auth/step-up', { body: { password }, token })

async function logIn(
  plane: Plane,
  { email, password, from }: { email: string; password: string; from: string },
): Promise<string> {
  const answer = await send(plane, 'POST', '/auth/login', { body: { email, password }, token: null }).catch((error) => {
    if (!(error instanceof ApiProblem) || error.problem.code !== 'invalid_credentials') throw error
    throw new ApiProblem(error.status, error.problem, [`E-mail and password come from ${from}.`])
  })
  const challenge = MfaRequired.safeParse(answer).data
  if (challenge) {
    const why = challenge.methods.includes('email_code') ? 'was mailed a code for an unusual login' : 'has a second factor'
    throw new Failure(
      `${email} ${why}, and the environment has a password alone: use an API key, or freehold login.`,
      'mfa_required',
    )
  }
  const { access_token, must_change_password } = shaped(plane, Entered, answer)
  if (must_change_password) {
    await send(plane, 'POST', '/auth/logout', { token: access_token }).catch(() => undefined)
    throw new Failure(
      `${email} must change the password first: freehold password, or POST ${plane.base}/auth/password-change {current_password, new_password}.`,
      'password_change_required',
    )
  }
  return access_token
}

function ofProfile(plane: Plane, profile: Named): Bearer {
  let held = profile
  let renewing: Promise<Named> | null = null

  const renew = async (used: string) => {
    if (held.access_token !== used) return held.access_token
    renewing ??= exchanged(plane, held).finally(() => {
      renewing = null
    })
    held = await renewing
    return held.access_token
  }
  return {
    token: async () => (Date.now() > held.expires_at - EARLY_MS ? renew(held.access_token) : held.access_token),
    renew,
    prove: async () => {
      if (!isAsked()) return false
      tell(`This needs a login of the last minutes, and ${plain(profile.email)} logged in before.`)
      await stepUp(plane, await ask('Password: ', { hidden: true }), held.access_token)
      return true
    },
    explain: (error) => explained(error, profile.name),
    end: async () => {},
  }
}

/** The profile with new tokens, of this process or of another that was quicker. */
const exchanged = (plane: Plane, { name, access_token }: Named): Promise<Named> =>
  withLock(name, async () => {
    const kept = await readProfile(name)
    if (!kept) throw ended(name, 'it was logged out')
    if (kept.access_token !== access_token) return kept
    const body = { refresh_token: kept.refresh_token }
    const answer = await send(plane, 'POST', '/auth/refresh-token', { body, token: null }).catch((error) => {
      throw explained(error, name)
    })
    const fresh = withTokens(kept, shaped(plane, Tokens, answer))
    await writeProfile(fresh)
    return fresh
  })

/** A profile with the tokens that just arrived. */
export const withTokens = (
  profile: Named,
  { access_token, refresh_token, expires_in, device_token }: z.infer<typeof Tokens>,
) => ({
  ...profile,
  access_token,
  refresh_token,
  expires_at: Date.now() + expires_in * 1000,
  device_token: device_token ?? profile.device_token,
})

/** What means that the session is over, whichever of the two tokens says so. */
const OVER: Record<string, string> = {
  session_ended: 'it was revoked, or has expired',
  refresh_invalid: 'it was revoked, or has expired',
  refresh_reused: 'its refresh token was used twice',
  token_invalid: 'the platform has other keys',
  token_wrong_tenant: 'the tenant is another one',
  user_inactive: 'its user is deactivated, or has no role',
}

function explained(error: unknown, name: string): unknown {
  if (error instanceof ApiProblem && error.code === 'step_up_required')
    return new ApiProblem(error.status, error.problem, [
      `On a terminal the password is asked for. In a script log in with freehold login --profile ${name} --password-stdin first.`,
    ])
  const why = error instanceof ApiProblem ? OVER[error.code] : undefined
  return why === undefined ? error : ended(name, why)
}

const ended = (name: string, why: string) =>
  new Failure(
    `The session of the profile ${name} has ended (${why}): log in again with freehold login --profile ${name}.`,
    'session_ended',
  )
