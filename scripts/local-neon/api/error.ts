/** A failure as Neon's management API reports it. */
export class ApiError extends Error {
  readonly status: number
  readonly code: string

  constructor(status: number, message: string, code = '') {
    super(message)
    this.status = status
    this.code = code
  }
}

export const notFound = (what: string) => new ApiError(404, `${what} not found`)
