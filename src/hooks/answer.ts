/**
 * What a hook answers. Threat: whoever answers for it makes somebody an administrator in the eyes of an API, fills every token, or writes
 * into an answer of ours what it likes. So what it says of a user is in one claim of its own (`ext`), under names that mean nothing
 * elsewhere, and little of it; a reason is one line of plain text; and all that is not exactly so counts as no answer.
 */
import { z } from '@hono/zod-openapi'

const MOST_BYTES = 16 * 1024
const MOST_CLAIMS = 20
const MOST_CLAIM_BYTES = 2 * 1024

/** Claims of tokens that mean something, here, in OpenID Connect or to an API gateway: also within `ext` they would be taken for it. */
const RESERVED =
  /^(iss|sub|aud|exp|nbf|iat|jti|act|may_act|acr|amr|azp|nonce|at_hash|c_hash|s_hash|auth_time|sid|uid|tid|proof|ext|cnf|scope|scp|client_id|tenant|trace|username|preferred_username|email|email_verified|phone_number|phone_number_verified|name|given_name|family_name|roles?|groups?|permissions?|permissions_truncated|entitlements|admin|is_admin)$/

/** What the database cannot store, NUL and half of a surrogate pair, would fail the act itself, whatever `on_failure` says. */
const isStorable = (text: string) => text.isWellFormed() && !text.includes('\0')
const ClaimText = z.string().max(256).refine(isStorable)
const Claim = z.union([ClaimText, z.number(), z.boolean(), z.array(ClaimText).max(20)])
const Claims = z
  .record(z.string().regex(/^[a-z][a-z0-9_]{0,39}$/), Claim)
  .refine((claims) => Object.keys(claims).length <= MOST_CLAIMS)
  .refine((claims) => !Object.keys(claims).some((name) => RESERVED.test(name)))
  .refine((claims) => new TextEncoder().encode(JSON.stringify(claims)).length <= MOST_CLAIM_BYTES)

const Allowed = z.strictObject({ decision: z.literal('allow'), claims: Claims.optional() })
const Denied = z.strictObject({
  decision: z.literal('deny'),
  reason: z
    .string()
    .trim()
    .min(1)
    .max(200)
    .regex(/^[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}]*$/u)
    .refine(isStorable)
    .optional(),
})
export type Said = z.infer<typeof Allowed> | z.infer<typeof Denied>

/** What an answer says; null: it is none. Reads no more than an answer needs. */
export async function saidIn(answer: Response, act: string): Promise<Said | null> {
  const parts: Uint8Array[] = []
  let size = 0
  for await (const part of answer.body ?? []) {
    size += part.byteLength
    if (size > MOST_BYTES) return null
    parts.push(part)
  }
  if (answer.status !== 200) return null
  try {
    const said = z.union([Allowed, Denied]).parse(JSON.parse(new TextDecoder().decode(joined(parts, size))))
    return act !== 'login' && 'claims' in said ? null : said
  } catch {
    return null
  }
}

function joined(parts: Uint8Array[], size: number): Uint8Array {
  const whole = new Uint8Array(size)
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.byteLength
  }
  return whole
}
