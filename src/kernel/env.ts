/** The bindings of the Worker, as wrangler.toml declares them, and its settings, unparsed (config.ts parses them). */
export interface Env extends Record<string, unknown> {
  TENANTS: KVNamespace
  ATTEMPTS: RateLimit
  FAILURES: RateLimit
  REFUSALS: RateLimit
  PRINCIPALS: RateLimit
  PROVISIONING: Workflow<{ run_id: string }>
  MIGRATION: Workflow<{ tenant_id: string; target: string; attempt: number } | { undo_id: string; attempt: number }>
  MOVE: Workflow<{ move_id: string; attempt: number }>
  RESTORE: Workflow<{ restore_id: string; attempt: number }>
  ASSETS: Fetcher
}

/** Round trips of one request beside those of its route: to the master, and for the origins in the settings of its realm. */
export type Meter = { master: number; origins?: number }
