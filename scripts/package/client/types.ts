import type { FetchResponse, MaybeOptionalInit } from 'openapi-fetch'
import type { Kept, Tokens } from './session.ts'

type Verb = 'get' | 'put' | 'post' | 'patch' | 'delete'
type Media = `${string}/${string}`
// biome-ignore lint/suspicious/noExplicitAny: what openapi-fetch takes operations for.
type Known = Record<string, any>

/** The paths that have a method. */
export type PathOf<Paths, M extends Verb> = {
  [P in keyof Paths]: Paths[P] extends { [K in M]: Known } ? P : never
}[keyof Paths]

/** The answer of a call that succeeded: a call that did not throws a ProblemError. */
export type Answer<R> = R extends { data: infer Data; error?: never } ? { data: Data; response: Response } : never

type Given<Init> = undefined extends Init ? [init?: Init] : [init: Init]

/** A call: the path as the document has it, and `{ params: { path, query, header }, body, headers, signal }`. */
export type Method<Paths, M extends Verb> = <P extends PathOf<Paths, M>, Init extends MaybeOptionalInit<Paths[P] & Known, M>>(
  path: P,
  ...init: Given<Init>
) => Promise<Answer<FetchResponse<(Paths[P] & Known)[M], Init, Media>>>

/** What a page of a list has in it. */
type ItemOf<Operation> = Operation extends {
  responses: { 200: { content: { 'application/json': { data: (infer Item)[]; next_cursor: string | null } } } }
}
  ? Item
  : never

/** The paths that are lists with a cursor. */
export type ListOf<Paths> = {
  [P in PathOf<Paths, 'get'>]: [ItemOf<(Paths[P] & Known)['get']>] extends [never] ? never : P
}[PathOf<Paths, 'get'>]

export type Options = {
  /** The tenant's own address, such as https://acme.ids.example.com; or that of the platform, together with `tenant`. */
  url: string
  /** The subdomain of the tenant, where `url` is the address of the platform. */
  tenant?: string
  /** `platform` for operators: login and refresh are those of /platform/v1. */
  plane?: 'tenant' | 'platform'
  /** An API key, `fh_...`, instead of a session. */
  api_key?: string
  /** A session that began before. */
  tokens?: Kept
  /** Is told of the tokens of each login and refresh, to keep them, and null when the session has ended. */
  onTokens?: (tokens: Tokens | null) => void
  /** How long a call may take, in milliseconds: 30,000 unless given; 0 for as long as it takes. */
  timeout_ms?: number
  /** Another fetch. */
  fetch?: (request: Request) => Promise<Response>
}

export type Credentials = ({ email: string } | { username: string }) & { password: string; device_token?: string }

export type Client<Paths> = {
  GET: Method<Paths, 'get'>
  PUT: Method<Paths, 'put'>
  POST: Method<Paths, 'post'>
  PATCH: Method<Paths, 'patch'>
  DELETE: Method<Paths, 'delete'>
  /** The items of a list, page after page as they are read. `init` is that of the first page. */
  list: <P extends ListOf<Paths>, Init extends MaybeOptionalInit<Paths[P] & Known, 'get'>>(
    path: P,
    ...init: Given<Init>
  ) => AsyncGenerator<ItemOf<(Paths[P] & Known)['get']>, void, undefined>
  /** Begins a session. */
  logIn(credentials: Credentials): Promise<Tokens>
  /** Ends the session, at the service and then here. When it fails, the session stays, so that it can be tried again. */
  logOut(): Promise<void>
  /** The tokens of the session, to be kept; null without one. */
  readonly tokens: Kept | null
}
