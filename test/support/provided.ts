import 'vitest'

declare module 'vitest' {
  interface ProvidedContext {
    settings: Record<string, string>
    operator: { email: string; password: string }
    postgres_url: string
    /** Where the server is that sends everybody on (node/crossroads.ts). */
    crossroads: { at: string }
    /** A range API of breached passwords, and what is in it (support/node/breached.ts). */
    breached: { url: string; passwords: string[] }
    /** Where tests plant what providers answer (support/node/providers.ts). */
    providers: { url: string }
    /** Ports of this machine, and where the SMTP server tells what it took. */
    post_office: { open: number; guarded: number; silent: number; closing: number; away: number; told: string }
  }
}
