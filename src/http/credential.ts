/**
 * Reads the credential of a request. Threat: two credentials, of which each side trusts another one; and secrets in URLs, which
 * end up in logs. So exactly one is accepted, from headers alone. token.ts verifies tokens, the database verifies keys.
 */
import { type ApiKeyCredential, prefixOf } from '../kernel/api-key.ts'
import { Problem } from '../kernel/problem.ts'
import { tokenHash } from '../kernel/token.ts'

export type PresentedCredential = { token: string } | { key: string }

/**
 * The one credential of a request: `Authorization: Bearer` with a token or a key, or `X-API-Key`. Fails with token_missing,
 * token_invalid, credentials_ambiguous.
 */
export function readCredential(headers: Headers): PresentedCredential {
  const [authorization, key] = [headers.get('Authorization'), headers.get('X-API-Key')?.trim()]
  // A header that was sent twice arrives as one, with a comma.
  if (authorization?.includes(',') || key?.includes(',') || (authorization && key)) throw new Problem('credentials_ambiguous')
  if (key) return { key }
  // No pattern goes over the token: it has a thousand characters, and this is done for every request.
  const said = authorization?.trim() ?? ''
  const end = said.search(/\s/)
  const [scheme, token] = end < 0 ? [said, ''] : [said.slice(0, end), said.slice(end + 1).trimStart()]
  if (!scheme || !token) throw new Problem('token_missing')
  if (scheme.toLowerCase() !== 'bearer') throw new Problem('token_invalid', 'Only Bearer tokens are understood.')
  return token.startsWith('fh_') ? { key: token } : { token }
}

/** Parses an API key. Fails with token_invalid when it is malformed: then no database is asked. */
export async function apiKey(key: string): Promise<ApiKeyCredential> {
  const prefix = prefixOf(key)
  if (!prefix) throw new Problem('token_invalid', 'The API key is malformed: a character is wrong, missing or extra.')
  return { prefix, hash: (await tokenHash(key)).slice(2) }
}

/**
 * Refuses HTTP Basic with a secret of a client (RFC 6749 section 2.3.1), because nobody would read it. A client's id alone is one of a
 * public client: form clients send `client_id:` and `:`. Fails with invalid_request.
 */
export function refuseClientSecret(authorization: string | undefined): void {
  const [, encoded] = /^basic\s+(.*)$/i.exec(authorization?.trim() ?? '') ?? []
  if (encoded !== undefined && !isIdAlone(encoded))
    throw new Problem('invalid_request', 'No client has a secret here: log in without HTTP Basic authentication.')
}

function isIdAlone(encoded: string): boolean {
  try {
    return /^[^:]*:$/.test(atob(encoded))
  } catch {
    return false
  }
}
