/** Something that goes wrong on purpose, for the next `times` requests that match. */
export interface Fault {
  match: {
    method?: string
    /** A regular expression on the path, such as `^/api/v2/projects$` or `^/sql$`. */
    path: string
    /** A regular expression on the connection string of a request to `/sql`: only those to some databases. */
    connection?: string
  }
  times: number
  /**
   * `drop_before` loses the request, `drop_after` executes it and loses the answer; `delay` waits `ms`
   * before it executes it, `delay_after` before it answers; `fail_operation` accepts it and fails one
   * of its operations. The next two are about requests to `/sql` that change roles, and leave others alone: `refuse_roles`, where the
   * control plane answers `status`, by default 423; `bring_back_roles`, where it took the change, the commit failed, and the roles come
   * back as Neon makes them.
   */
  kind: 'status' | 'drop_before' | 'drop_after' | 'delay' | 'delay_after' | 'fail_operation' | 'refuse_roles' | 'bring_back_roles'
  status?: number
  body?: string
  headers?: Record<string, string>
  ms?: number
  /** The action of the operation that fails; without it the first one of the request. */
  action?: string
}
