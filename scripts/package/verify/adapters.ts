/** The verifier as middleware of Hono and of Express. Neither is imported: what is used of them is here. */
import { Refusal } from './refusal.ts'
import type { Asked, Caller, PermissionOptions, Verifier } from './types.ts'

export type HonoContext = { req: { raw: Request }; set(key: 'caller', value: Caller): void }
export type ExpressRequest = Asked & { caller?: Caller }
export type ExpressResponse = {
  status(code: number): ExpressResponse
  set(headers: Record<string, string>): ExpressResponse
  send(body: string): unknown
}
export type ExpressNext = (error?: unknown) => void

/** A caller, who holds the permission if one is named. A verifier verifies a request once. */
const admitted = (verifier: Verifier, request: Asked, needed: Needed): Promise<Caller> =>
  needed.permission === undefined ? verifier.verify(request) : verifier.requirePermission(request, needed.permission, needed)

type Needed = PermissionOptions & { permission?: string }

/** For Hono: `app.use(forHono(verifier))`; then `c.get('caller')` is who asks. With `{ permission }` it is needed, too. */
export const forHono = (verifier: Verifier, needed: Needed = {}) => {
  return async (c: HonoContext, next: () => Promise<void>): Promise<Response | undefined> => {
    try {
      c.set('caller', await admitted(verifier, c.req.raw, needed))
    } catch (error) {
      if (error instanceof Refusal) return error.response()
      throw error
    }
    await next()
    return undefined
  }
}

/** For Express 4 and 5: `app.use(forExpress(verifier))`; then `request.caller` is who asks. With `{ permission }` it is needed, too. */
export const forExpress = (verifier: Verifier, needed: Needed = {}) => {
  return async (request: ExpressRequest, response: ExpressResponse, next: ExpressNext): Promise<void> => {
    try {
      request.caller = await admitted(verifier, request, needed)
    } catch (error) {
      if (!(error instanceof Refusal)) return next(error)
      response.status(error.status).set(error.headers).send(JSON.stringify(error.problem))
      return
    }
    next()
  }
}
