/** Cloudflare's API, as far as a set-up needs it. */
import { z } from 'zod'
import { Failure } from '../failure.ts'
import { plain } from '../output.ts'
import { NotSet } from './steps.ts'

/** What a token must be allowed, as the dashboard names it (My Profile > API Tokens). */
export const PERMISSIONS = {
  zone: 'Zone > Zone: Read',
  dns: 'Zone > DNS: Edit',
  settings: 'Zone > Zone Settings: Edit',
  certificates: 'Zone > SSL and Certificates: Read',
  bots: 'Zone > Bot Management: Edit',
  routes: 'Zone > Workers Routes: Edit',
  scripts: 'Account > Workers Scripts: Edit',
  kv: 'Account > Workers KV Storage: Edit',
  r2: 'Account > Workers R2 Storage: Edit',
} as const
export type Permission = keyof typeof PERMISSIONS

/** Without it, a set-up says that it could not look. */
export const OPTIONAL: Permission = 'bots'

export const API = 'https://api.cloudflare.com/client/v4'
const TOKEN = `make a token at https://dash.cloudflare.com/profile/api-tokens with the permissions ${Object.values(PERMISSIONS).join(', ')}.`

const Envelope = z.object({
  success: z.boolean(),
  errors: z.array(z.object({ code: z.number(), message: z.string() })).nullish(),
  result: z.unknown(),
})

/** Cloudflare does not do what it was asked for. */
export class CloudflareError extends Failure {
  readonly status: number

  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

/** The token may not do it. */
export class NotAllowed extends CloudflareError {
  readonly permission: Permission

  constructor(permission: Permission) {
    super(
      403,
      `CLOUDFLARE_API_TOKEN may do too little: add the permission "${PERMISSIONS[permission]}" to it, and run this again.`,
    )
    this.permission = permission
  }
}

export type Cloudflare = ReturnType<typeof cloudflare>

/**
 * A client. `ask` makes one request and returns its result; it names the permission that a refused request lacks. Requests that change
 * something are never repeated: the next run looks what became of them.
 */
export function cloudflare(token: string | undefined, base: string) {
  async function ask<T>(result: z.ZodType<T>, permission: Permission, method: string, path: string, body?: unknown): Promise<T> {
    if (!token) throw new NotSet('CLOUDFLARE_API_TOKEN', TOKEN)
    const init = {
      method,
      headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      // A redirect would take the token to another host.
      redirect: 'manual' as const,
      signal: AbortSignal.timeout(30_000),
    }
    const answer = await fetch(`${base}${path}`, init).catch((error: Error) => {
      const { code = error.message } = (error.cause ?? {}) as { code?: string }
      throw new Failure(`Cloudflare does not answer ${method} ${path} (${code}). Run this again.`)
    })
    const parsed = Envelope.safeParse(await answer.json().catch(() => null))
    if (!parsed.success)
      throw new CloudflareError(answer.status, `Cloudflare answered ${method} ${path} with ${answer.status} and no JSON.`)
    const errors = parsed.data.errors ?? []
    if (parsed.data.success) {
      const read = result.safeParse(parsed.data.result)
      if (read.success) return read.data
      throw new CloudflareError(answer.status, `Cloudflare answered ${method} ${path} in a form that this release does not know.`)
    }
    const said = errors.map(({ code, message }) => `${plain(message)} (${code})`).join(', ')
    // 1000 and 9109 with this text: no such token, or one that has ended. 6003, 6111: it has not the form of one.
    if (
      answer.status === 401 ||
      errors.some(({ code, message }) => [1000, 6003, 6111].includes(code) || /^invalid (access|api) token/i.test(message))
    )
      throw new CloudflareError(401, `Cloudflare does not accept CLOUDFLARE_API_TOKEN (${said}): ${TOKEN}`)
    if (answer.status === 403) throw new NotAllowed(permission)
    throw new CloudflareError(answer.status, `Cloudflare refuses ${method} ${path}: ${said || answer.status}.`)
  }
  return { ask, token, base }
}

export const Zone = z.object({
  id: z.string(),
  name: z.string(),
  status: z.string(),
  paused: z.boolean().optional(),
  account: z.object({ id: z.string(), name: z.string().optional() }),
})
export type Zone = z.infer<typeof Zone>
