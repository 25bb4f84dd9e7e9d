/** Something that goes wrong on purpose, for the next `times` requests that match. */
export interface Fault {
  match: {
    method?: string
    /** A regular expression on the path, such as `^/api/v2/projects$` or `^/sql$`. */
    path: string
  }
  times: number
  /**
   * `drop_before` loses the request, `drop_after` carries it out and loses the answer; `fail_operation` takes it, and fails an
   * operation of it.
   */
  kind: 'status' | 'drop_before' | 'drop_after' | 'delay' | 'fail_operation'
  status?: number
  body?: string
  headers?: Record<string, string>
  ms?: number
  /** Of the operation that fails; the first one of the request when it is missing. */
  action?: string
}
