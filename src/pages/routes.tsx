import { Hono, type MiddlewareHandler } from 'hono'
import type { AppEnv } from '../http/app-env.ts'
import { onError } from '../http/failures.ts'
import { Problem } from '../kernel/problem.ts'
import { accountDoors } from './account.tsx'
import { type Door, guards, onlyOfTenants, open } from './doors.tsx'
import { emailDoors } from './email.tsx'
import { errorPage } from './error.tsx'
import { keyDoors } from './keys.tsx'
import { loginDoors } from './login.tsx'
import { passwordDoors } from './password.tsx'
import { registerDoors } from './register.tsx'
import { resetDoors } from './reset.tsx'
import { script } from './script.ts'
import { styleOf } from './style.ts'

export const doors: Door[] = [
  ...accountDoors,
  ...loginDoors,
  ...passwordDoors,
  ...emailDoors,
  ...resetDoors,
  ...registerDoors,
  ...keyDoors,
]

const FILE = { 'Cache-Control': 'public, max-age=86400' }

/** The pages of tenants, for people; `plane` finds the tenant of the host. Failures are pages, too. */
export function pageRoutes(plane: MiddlewareHandler<AppEnv>) {
  const routes = new Hono<AppEnv>({ strict: false })
  // With any method, so that an address that is none on the base domain has no other methods there either.
  for (const path of new Set(doors.map((door) => door.path))) routes.use(path, onlyOfTenants)
  for (const door of doors) routes.on(door.method, [door.path], plane, ...guards(door), (c) => open(c, door))
  routes.get('/pages/style.css', (c) => {
    const accent = c.req.query('accent')
    if (accent !== undefined && !/^[0-9a-f]{6}$/i.test(accent)) throw new Problem('not_found')
    return c.body(styleOf(accent), 200, { 'Content-Type': 'text/css; charset=utf-8', ...FILE })
  })
  routes.get('/pages/page.js', (c) => c.body(script, 200, { 'Content-Type': 'text/javascript; charset=utf-8', ...FILE }))
  routes.onError((error, c) => (c.get('subdomain') === null ? onError(error, c) : errorPage(c, onError(error, c))))
  return routes
}
