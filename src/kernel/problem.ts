import type { z } from 'zod'

/** Every way to fail: code -> status, title, and what to do about it. `/problems/{code}` shows a row of this table. */
export const problemCatalogue = {
  invalid_request: [400, 'The request is not valid', 'Fix the fields listed in `errors`.'],
  invalid_cursor: [400, 'The cursor is not one of ours', 'Start again without a cursor.'],
  tenant_required: [400, 'No tenant was named', 'Use the host of the tenant, or the header X-Tenant.'],
  tenant_ambiguous: [400, 'Two tenants were named', 'Let X-Tenant and the host name the same tenant, or send one of them.'],
  credentials_ambiguous: [400, 'Two credentials were sent', 'Send one credential.'],
  token_missing: [401, 'A token is needed', 'Send Authorization: Bearer with an access token.'],
  token_invalid: [401, 'The token is not valid', 'Log in again.'],
  token_expired: [401, 'The token has expired', 'Exchange the refresh token for a new one.'],
  token_wrong_tenant: [401, 'The token belongs to another tenant', 'Log in to this tenant.'],
  session_ended: [401, 'The session has ended', 'Log in again.'],
  refresh_invalid: [401, 'The refresh token is not valid', 'Log in again.'],
  refresh_reused: [
    401,
    'The refresh token was used before',
    'The session has been ended, because somebody else may hold the token. Log in again.',
  ],
  invalid_credentials: [
    401,
    'The credentials are not valid',
    'Check identifier and password. After several failures wait before the next try.',
  ],
  step_up_required: [401, 'A newer or stronger login is needed', 'POST auth/step-up, then send the request again.'],
  forbidden: [403, 'Not permitted', 'Ask an administrator for the permission.'],
  https_required: [
    403,
    'HTTPS is required',
    'Use https. Others may have read this request: change the password, or end the session or key, that it carried.',
  ],
  password_change_required: [403, 'The password must be changed first', 'POST auth/password-change first, then go on.'],
  mfa_setup_required: [403, 'A second factor must be set up first', 'POST auth/mfa/setup, or log in with a passkey, then go on.'],
  user_inactive: [403, 'The user is not active', 'Ask an administrator.'],
  denied_by_hook: [403, 'Refused by a hook of the tenant', 'Ask an administrator of the tenant.'],
  license_expired: [403, 'The license has expired', 'Ask the operator of this service to renew the license.'],
  tenant_inactive: [403, 'The tenant is not active', 'Ask the operator of this service.'],
  not_found: [404, 'There is nothing here', 'Check the address.'],
  tenant_not_found: [404, 'There is no such tenant', 'Check the name of the tenant.'],
  method_not_allowed: [405, 'This address has no such method', 'See the header Allow.'],
  subdomain_taken: [409, 'The subdomain is taken', 'Choose another.'],
  tax_id_taken: [409, 'The tax id is taken', 'A tenant with this tax id exists already.'],
  already_exists: [409, 'This exists already', 'Use the one that exists.'],
  in_use: [409, 'This is in use', 'End its use first.'],
  limit_reached: [409, 'A limit is reached', 'Raise the limit or make room.'],
  illegal_state: [409, 'Not possible in this state', 'Check the current state first.'],
  tenant_renamed: [410, 'The tenant has another name now', 'Send the request to the address in `url`.'],
  etag_mismatch: [412, 'This was changed meanwhile', 'Read it again.'],
  body_too_large: [413, 'The body is too large', 'Send at most 1 MiB.'],
  unsupported_media_type: [415, 'This content type is not understood', 'Send application/json.'],
  idempotency_mismatch: [422, 'The Idempotency-Key belongs to another request', 'Send the same request again, or a new key.'],
  password_required: [
    422,
    'A password is needed',
    'Send the token again: with the registration_secret that auth/register answered, or with a new_password.',
  ],
  rate_limited: [429, 'Too many requests', 'Wait for the seconds in Retry-After.'],
  internal_error: [500, 'Something failed here', 'Try again; name the trace id when you report it.'],
  asset_unavailable: [503, 'A part of this service could not be read', 'Try again after the seconds in Retry-After.'],
  database_unavailable: [503, 'The database does not answer', 'Try again after the seconds in Retry-After.'],
  provider_unavailable: [503, 'The provider of this login does not answer', 'Try again in a minute, or log in in another way.'],
  tenant_provisioning: [503, 'The tenant is still being created', 'Try again after the seconds in Retry-After.'],
  tenant_unavailable: [503, 'The tenant could not be created', 'Ask the operator of this service.'],
  tenant_upgrading: [503, 'The tenant is being upgraded', 'Try again after the seconds in Retry-After.'],
  no_capacity: [503, 'There is no capacity for another tenant', 'Try again later.'],
} as const satisfies Record<string, readonly [number, string, string]>

export type Code = keyof typeof problemCatalogue
export type Issue = { pointer: string; detail: string }

/** A language of problems (i18n/language.ts). Problems are thrown in English; a sentence without a translation stays English. */
export type Language = {
  tag: string
  title: (code: Code) => string
  /** Translates the detail of a problem or of an issue. */
  sentence: (english: string) => string
  /** Describes an issue of a schema; `body` is the input. */
  issue: (issue: z.core.$ZodIssue, body: unknown) => string
}

/** A failure reported to the caller as application/problem+json (RFC 9457). Thrown, never returned. */
export class Problem extends Error {
  readonly code: Code
  readonly errors: Issue[] | undefined
  readonly headers: Record<string, string>
  /** A further member of the problem: where to go instead. */
  readonly url: string | undefined
  /** The refusal of what somebody could have guessed, a password, token, key or tenant: such are limited (http/rate-limit.ts). */
  readonly is_guess: boolean

  constructor(
    code: Code,
    detail?: string,
    more: { errors?: Issue[]; headers?: Record<string, string>; url?: string; cause?: unknown; is_guess?: boolean } = {},
  ) {
    super(detail ?? problemCatalogue[code][2], { cause: more.cause })
    this.code = code
    this.is_guess = more.is_guess ?? (code === 'invalid_credentials' || code === 'refresh_invalid')
    this.errors = more.errors
    this.url = more.url
    this.headers = {
      ...(problemCatalogue[code][0] === 503 || code === 'rate_limited' ? { 'Retry-After': '2' } : {}),
      ...more.headers,
    }
  }

  get status(): number {
    return problemCatalogue[this.code][0]
  }

  /** The response, in the caller's language. A 401 carries the challenge of RFC 6750, which is ASCII and so in English. */
  toResponse(about: { base: string; path: string; trace_id: string; language: Language }): Response {
    const [status, title] = problemCatalogue[this.code]
    const { language } = about
    const body = {
      type: `${about.base}/problems/${this.code}`,
      title: language.title(this.code),
      status,
      detail: language.sentence(this.message),
      instance: about.path,
      code: this.code,
      trace_id: about.trace_id,
      ...(this.url && { url: this.url }),
      ...(this.errors && { errors: this.errors.map((issue) => ({ ...issue, detail: language.sentence(issue.detail) })) }),
    }
    const headers = new Headers({
      'Content-Type': 'application/problem+json',
      'Content-Language': language.tag,
      Vary: 'Accept-Language',
      ...this.headers,
    })
    if (status === 401) {
      const error =
        this.code.startsWith('token_') && this.code !== 'token_missing'
          ? `, error="invalid_token", error_description="${title}"`
          : ''
      headers.set('WWW-Authenticate', `Bearer realm="freehold"${error}`)
    }
    return new Response(JSON.stringify(body), { status, headers })
  }
}

/** 400 `invalid_request` that points at a field of the body (RFC 6901, as a fragment), or with '' at all of it. */
export const invalid = (field: string, detail: string) =>
  new Problem('invalid_request', undefined, { errors: [{ pointer: field ? `#/${field}` : '#', detail }] })
