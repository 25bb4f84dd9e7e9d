import 'vitest'

declare module 'vitest' {
  interface ProvidedContext {
    settings: Record<string, string>
    operator: { email: string; password: string }
    postgres_url: string
  }
}
