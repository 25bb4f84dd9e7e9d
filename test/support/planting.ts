/** What tests plant at `node/providers.ts`, and what was asked of it. */
export type Planted = {
  path: string
  status?: number
  headers?: Record<string, string>
  body?: string
  delay_ms?: number
  bytes?: number
}
export type Asked = { method: string; path: string; headers: Record<string, unknown>; body: string }
