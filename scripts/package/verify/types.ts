import type { JWTPayload } from 'jose'

/** A request, as Fetch or as Node has it. */
export type Asked = { headers: Headers | Record<string, string | string[] | undefined> }

/** Who asks. */
export type Caller = {
  /** The id of the user, for ever. */
  sub: string
  tenant: string
  tenant_id: string
  session_id: string | null
  client_id: string | null
  username: string | null
  email: string | null
  role: string | null
  roles: string[]
  /** What the token says that the user may do. It may be a part of it: then `permissions_truncated` is true. */
  permissions: string[]
  permissions_truncated: boolean
  scope: string[]
  token: string
  claims: JWTPayload
}

export type VerifierOptions = {
  /** The address of the platform, such as https://ids.example.com. A tenant's tokens are issued by https://{tenant}.ids.example.com. */
  platform: string
  /** The tenant whose tokens count: one, or which one a request is for. Null: none. */
  tenant: string | ((request: Asked) => string | null | Promise<string | null>)
  /** The `aud` that tokens must have: the audience that the tenant registered for this API. The tenant's own address unless given. */
  audience?: string | string[]
  /** Seconds by which clocks may differ: 10 unless given. */
  clock_tolerance?: number
  /**
   * Asks the service online with an API key that may read users, where tokens are for this API alone and the service would refuse them. The
   * answer is about the user: that a session has ended is not noticed.
   */
  api_key?: string
  /** Another fetch. */
  fetch?: (url: string, init: RequestInit) => Promise<Response>
}

export type PermissionOptions = {
  /** True: asks the service what is true now, also about `resource`. False: never. Otherwise: where the token has only a part. */
  online?: boolean
  /** Whose thing it is about, for permissions with a scope. Only online. */
  resource?: { owner_id?: string; unit_id?: string }
}

export type Verifier = {
  /** Who asks. Fails with Refusal. */
  verify(request: Asked): Promise<Caller>
  /** Fails with Refusal `forbidden` unless the caller holds the permission; `request` may be a caller that this verifier verified. */
  requirePermission(request: Asked | Caller, permission: string, options?: PermissionOptions): Promise<Caller>
}
