/** Something that goes wrong on purpose, for the next `times` requests that match. */
export interface Fault {
  match: {
    method?: string
    /** A regular expression on the path, such as `^/api/v2/projects$` or `^/sql$`. */
    path: string
  }
  times: number
  /** `drop_before` loses the request, `drop_after` carries it out and loses the answer. */
  kind: 'status' | 'drop_before' | 'drop_after' | 'delay'
  status?: number
  body?: string
  headers?: Record<string, string>
  ms?: number
}
