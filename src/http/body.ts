/**
 * Bounds and reads a body before it is validated. Threat: bodies that fill the memory or take long to parse, sent by callers that
 * would be refused anyway; bodies that are read otherwise than they were written (json.ts). So this comes after credential
 * and rate limit, and the bound is small where no credential is needed. A body without Content-Length is read up to the bound.
 */
import type { Context, MiddlewareHandler } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { createMiddleware } from 'hono/factory'
import { invalid, Problem } from '../kernel/problem.ts'
import type { AppEnv } from './app-env.ts'
import { jsonOf, textOf } from './json.ts'
import { isPage } from './transport.ts'

const KIB = 1024
/** Of both planes, OAuth, and what whoever was invited sends. No request there holds more than a few short fields. */
const AUTH = /^\/((api|platform)\/v1\/auth\/|oauth\/|api\/v1\/invitations\/(accept|preview)\b)/

export const JSON_TYPE = 'application/json'
/** What a PATCH is by RFC 7396, whatever it is called. */
export const PATCH_TYPE = 'application/merge-patch+json'
export const URLENCODED = 'application/x-www-form-urlencoded'
export const MULTIPART = 'multipart/form-data'
export const FORMS = [URLENCODED, MULTIPART]

const refusing = (maxSize: number, refusal: () => Problem) =>
  bodyLimit({
    maxSize,
    onError: () => {
      throw refusal()
    },
  })
const small = refusing(16 * KIB, () => new Problem('body_too_large', 'Send at most 16 KiB.'))
const large = refusing(1024 * KIB, () => new Problem('body_too_large', 'Send at most 1 MiB.'))

/** Refuses a body above 16 KiB under /auth and /oauth and of pages, above 1 MiB elsewhere. Fails with body_too_large. */
const limitBody: MiddlewareHandler<AppEnv> = (c, next) => (AUTH.test(c.req.path) || isPage(c.req.path) ? small : large)(c, next)

/**
 * Refuses other content types of a body, which the validators after this one would accept (every `+json`), other charsets than
 * UTF-8, and encoded bodies, which they would read as they are. Fails with unsupported_media_type.
 */
export const typed = (types: readonly string[], said = types[0]) =>
  createMiddleware<AppEnv>(async (c, next) => {
    const coding = c.req.header('Content-Encoding')?.trim().toLowerCase() || 'identity'
    if (coding !== 'identity') throw new Problem('unsupported_media_type', 'Send the body without Content-Encoding.')
    const { essence, charset } = typeOf(c)
    if (!types.includes(essence)) throw new Problem('unsupported_media_type', `Send ${said}.`)
    if (charset !== 'utf-8' && charset !== 'utf8') throw new Problem('unsupported_media_type', 'Send UTF-8.')
    // The validators know fewer spellings.
    if (essence !== MULTIPART && c.req.header('Content-Type') !== undefined) {
      const headers = new Headers(c.req.raw.headers)
      headers.set('Content-Type', essence)
      c.req.raw = new Request(c.req.raw, { headers })
    }
    await next()
  })

/** The media type of a body and its charset, as RFC 9110 section 8.3 spells them: with spaces, quotes and empty parameters. */
function typeOf(c: Context<AppEnv>): { essence: string; charset: string } {
  const [essence = '', ...parameters] = (c.req.header('Content-Type') ?? JSON_TYPE).split(';')
  const charset = parameters.map((p) => /^\s*charset\s*=\s*"?([^"\s]*)"?\s*$/i.exec(p)?.[1]).find((found) => found !== undefined)
  return { essence: essence.trim().toLowerCase(), charset: (charset ?? 'utf-8').toLowerCase() }
}

/** Refuses a body that would not be read as it was written. The validator after it reads it once more. Fails with invalid_request. */
const checkBody = createMiddleware<AppEnv>(async (c, next) => {
  const text = textOf(await c.req.arrayBuffer())
  const { essence } = typeOf(c)
  if (essence === URLENCODED) checkEncoded(text)
  // An empty body is left to the validator, which says that it is missing; a byte order mark is passed over.
  else if (!FORMS.includes(essence) && text !== '') jsonOf(text.replace(/^\ufeff/, ''))
  await next()
})

/** Refuses percent-encoded bytes that are not UTF-8, which decoders replace. Fails with invalid_request. */
export function checkEncoded(text: string, pointer = ''): void {
  for (const [run] of text.matchAll(/(?:%[0-9a-f]{2})+/gi))
    try {
      decodeURIComponent(run)
    } catch {
      throw invalid(pointer, 'is not UTF-8')
    }
}

/** Refuses a query whose bytes are not UTF-8. Fails with invalid_request. */
export const checkQuery = createMiddleware<AppEnv>(async (c, next) => {
  const query = c.req.url.split('?', 2)[1]
  if (query) checkEncoded(query, 'query')
  await next()
})

/** A body that is a file, which the handler reads: the types that it may have, and how large it may be. */
export type FileBody = { types: readonly string[]; most_kib: number }

/** What is asked of a body that is a file: its type and its size. What is in it the handler looks at. */
export const fileBody = ({ types, most_kib }: FileBody): MiddlewareHandler<AppEnv>[] => [
  typed(types, types.join(', ')),
  refusing(most_kib * KIB, () => new Problem('body_too_large', `Send at most ${most_kib} KiB.`)),
]

const none = refusing(KIB, () => new Problem('body_too_large', 'This request takes no body.'))
const checkNone = createMiddleware<AppEnv>(async (c, next) => {
  if (c.req.raw.body && !/^\s*(\{\s*\})?\s*$/.test(textOf(await c.req.arrayBuffer())))
    throw invalid('', 'must be empty: this request takes no body')
  await next()
})
/** What is asked of a request that takes no body: it has none, or an empty object, which some clients send. */
export const noBody: MiddlewareHandler<AppEnv>[] = [none, checkNone]

/** What is asked of a body that the validators read: its type, its size, and that it is what it says. */
export const strictBody = (types: string[]): MiddlewareHandler<AppEnv>[] => [typed(types), limitBody, checkBody]
