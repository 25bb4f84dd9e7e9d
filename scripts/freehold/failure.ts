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

/** A failure that is told in words, without a stack. `document` is what --json prints of it. */
export class Failure extends Error {
  get document(): Record<string, unknown> {
    return { type: 'about:blank', title: 'The command failed', detail: this.message }
  }
}

/** The server is not there, or not now: the same call may succeed later. */
export class Unreachable extends Failure {}

/** A problem that the API answered with: title, detail, the places that are wrong, the trace id. */
export class ApiProblem extends Failure {
  readonly status: number
  readonly problem: z.infer<typeof ProblemDocument>

  constructor(status: number, problem: z.infer<typeof ProblemDocument>, more: string[] = []) {
    const { title, detail, errors = [], trace_id } = problem
    const places = errors.map((fault) => `  ${fault.pointer}: ${fault.detail}`)
    const lines = [`${title}.`, ...(detail ? [detail] : []), ...places, ...more, ...(trace_id ? [`Trace id: ${trace_id}`] : [])]
    super(lines.map(plain).join('\n'))
    this.status = status
    this.problem = problem
  }

  override get document() {
    return this.problem
  }
}
