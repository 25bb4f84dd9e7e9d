/** A failure that is not Postgres' own. */
export class Refusal extends Error {
  readonly status: number

  constructor(message: string, status = 400) {
    super(message)
    this.status = status
  }
}

/** Postgres refused the connection, for a reason that Neon reports as a server error. */
export class ConnectFailure extends Error {
  override readonly cause: unknown

  constructor(cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause))
    this.cause = cause
  }
}

const KEYS = [
  'detail',
  'hint',
  'position',
  'internalPosition',
  'internalQuery',
  'severity',
  'where',
  'table',
  'column',
  'schema',
  'dataType',
  'constraint',
  'file',
  'line',
  'routine',
] as const

/** The body of a failure: always the same 17 keys. */
export function describe(error: unknown, message = error instanceof Error ? error.message : String(error)) {
  const failure = error as Partial<Record<(typeof KEYS)[number] | 'code', string>>
  const isPostgres = isPostgresError(error)
  const details = KEYS.map((key) => [key, (isPostgres ? failure[key] : undefined) ?? null])
  return { message, code: '', ...Object.fromEntries(details), ...(isPostgres ? { code: failure.code } : { severity: '' }) }
}

/** True for an error from Postgres itself, not from the network or this program. */
export function isPostgresError(error: unknown): error is Error & { code: string; severity: string } {
  return error instanceof Error && 'severity' in error && typeof error.severity === 'string' && 'code' in error
}
