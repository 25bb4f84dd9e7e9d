/** What is wrong with a token, or with asking about it. */
export type RefusalCode =
  | 'token_missing'
  | 'token_invalid'
  | 'token_expired'
  | 'token_wrong_tenant'
  | 'token_wrong_audience'
  | 'forbidden'
  | 'unavailable'

const TITLES: Record<RefusalCode, [number, string, string | null]> = {
  token_missing: [401, 'A token is needed', null],
  token_invalid: [401, 'The token is not valid', 'invalid_token'],
  token_expired: [401, 'The token has expired', 'invalid_token'],
  token_wrong_tenant: [401, 'The token belongs to another tenant', 'invalid_token'],
  token_wrong_audience: [401, 'The token is not for this API', 'invalid_token'],
  forbidden: [403, 'Not permitted', 'insufficient_scope'],
  unavailable: [503, 'Tokens cannot be verified now', null],
}

/** Why a request is refused. `status`, `headers` and `problem` are an answer as RFC 6750 and RFC 9457 want it. */
export class Refusal extends Error {
  override readonly name = 'Refusal'
  readonly code: RefusalCode
  readonly status: number
  /** Of a refused permission, which. */
  readonly permission: string | undefined

  constructor(code: RefusalCode, options: { permission?: string; cause?: unknown } = {}) {
    super(TITLES[code][1], { cause: options.cause })
    this.code = code
    this.status = TITLES[code][0]
    this.permission = options.permission
  }

  get headers(): Record<string, string> {
    const { code, status, permission } = this
    const [, title, error] = TITLES[code]
    const said = error ? ` error="${error}", error_description="${title}"${permission ? `, scope="${permission}"` : ''}` : ''
    return {
      'Content-Type': 'application/problem+json',
      'Cache-Control': 'no-store',
      ...(status === 503 ? { 'Retry-After': '5' } : { 'WWW-Authenticate': `Bearer${said}` }),
    }
  }

  get problem() {
    const { code, status, message: title, permission } = this
    return { type: 'about:blank', title, status, code, ...(permission && { detail: `This needs ${permission}.` }) }
  }

  response(): Response {
    return new Response(JSON.stringify(this.problem), { status: this.status, headers: this.headers })
  }
}
