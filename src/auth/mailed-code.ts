/**
 * Codes that are mailed for a login: eight digits. Threat: of eight digits all can be tried by whoever reads a hash of them alone. So a
 * hash is of the code with a token that only whoever logs in holds, and that the database never has.
 */
import { z } from '@hono/zod-openapi'
import type { Ctx } from '../kernel/context.ts'
import { tokenHash } from '../kernel/token.ts'
import { encryptMailSecrets } from '../mail/mail.ts'

export const EmailCode = z
  .string()
  .regex(/^[0-9]{4} ?[0-9]{4}$/, 'must be 8 digits')
  .openapi({ description: 'The eight digits of the mail', example: '4920 3917' })

/** Eight digits, evenly: of the 32 bits that would favour some, another number is drawn. */
export function newCode(): string {
  const most = 2 ** 32 - (2 ** 32 % 10 ** 8)
  for (;;) {
    const [n = most] = crypto.getRandomValues(new Uint32Array(1))
    if (n < most) return String(n % 10 ** 8).padStart(8, '0')
  }
}

export const codeHash = (token: string, code: string) => tokenHash(`${token}.${code.replace(' ', '')}`)

/** A code for a login that turns out to need one, as access.challenge takes it: its hash, and the code as its mail has it. */
export async function mailedCode(ctx: Ctx, token: string): Promise<{ hash: string; secrets: string }> {
  const code = newCode()
  const [hash, secrets] = await Promise.all([codeHash(token, code), encryptMailSecrets(ctx, { code })])
  return { hash, secrets }
}
