import { z } from 'zod'
import { plain } from './output.ts'

/** What the API answers when it refuses (RFC 9457). */
export const ProblemDocument = z.looseObject({
  title: z.string(),
  detail: z.string().optional(),
  code: z.string().optional(),
  trace_id: z.string().optional(),
  errors: z.array(z.object({ pointer: z.string(), detail: z.string() })).optional(),
})

/**
 * A failure that is shown as a sentence, without a stack. `document` is what --json prints, with the `code` that programs tell it by.
 */
export class Failure extends Error {
  /** The exit status. */
  readonly exit: number = 1
  readonly code: string

  constructor(message: string, code = 'failed') {
    super(message)
    this.code = code
  }

  get document(): Record<string, unknown> {
    return { type: 'about:blank', title: 'The command failed', code: this.code, detail: this.message }
  }
}

/** Commands, arguments or options that do not exist or do not go together. */
export class WrongUsage extends Failure {
  override readonly exit = 2

  constructor(message: string) {
    super(message, 'wrong_usage')
  }
}

/** The server cannot be reached: the same call may succeed later. */
export class Unreachable extends Failure {
  constructor(message: string) {
    super(message, 'unreachable')
  }
}

/** A problem document from the API: title, detail, invalid fields, trace id. */
export class ApiProblem extends Failure {
  readonly status: number
  readonly problem: z.infer<typeof ProblemDocument>

  constructor(status: number, problem: z.infer<typeof ProblemDocument>, more: string[] = []) {
    const { title, detail, errors = [], trace_id } = problem
    const fields = errors.map((issue) => `  ${issue.pointer}: ${issue.detail}`)
    const lines = [`${title}.`, ...(detail ? [detail] : []), ...fields, ...more, ...(trace_id ? [`Trace id: ${trace_id}`] : [])]
    super(lines.map(plain).join('\n'), problem.code)
    this.status = status
    this.problem = problem
  }

  override get document() {
    return this.problem
  }
}
