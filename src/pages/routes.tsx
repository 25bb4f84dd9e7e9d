import { type Context, Hono, type MiddlewareHandler, type NotFoundHandler } from 'hono'
import { assetText } from '../assets/assets.ts'
import type { AppEnv } from '../http/app-env.ts'
import { onError } from '../http/failures.ts'
import { Problem } from '../kernel/problem.ts'
import { accountDoors } from './account.tsx'
import { switchDoors } from './accounts.tsx'
import { dataDoors } from './data.tsx'
import { type Door, guards, onlyOfTenants, open } from './doors.tsx'
import { emailDoors } from './email.tsx'
import { emailLoginDoors } from './email-login.tsx'
import { erasureDoors } from './erasure.tsx'
import { errorPage } from './error.tsx'
import { externalDoors } from './external.tsx'
import { PAGE_FILES } from './files.ts'
import { invitationDoors } from './invitation.tsx'
import { keyDoors } from './keys.tsx'
import { loginDoors } from './login.tsx'
import { loginDoorsElsewhere } from './logins.tsx'
import { mfaDoors } from './mfa.tsx'
import { notificationDoors } from './notifications.tsx'
import { passkeyDoors } from './passkeys.tsx'
import { passwordDoors } from './password.tsx'
import { registerDoors } from './register.tsx'
import { resetDoors } from './reset.tsx'
import { secondFactorDoors } from './second-factor.tsx'
import { styleOf } from './sheet.ts'
import { stepUpDoors } from './step-up-door.tsx'

export const doors: Door[] = [
  ...accountDoors,
  ...switchDoors,
  ...loginDoors,
  ...emailLoginDoors,
  ...externalDoors,
  ...secondFactorDoors,
  ...mfaDoors,
  ...passwordDoors,
  ...emailDoors,
  ...erasureDoors,
  ...resetDoors,
  ...registerDoors,
  ...invitationDoors,
  ...keyDoors,
  ...dataDoors,
  ...loginDoorsElsewhere,
  ...notificationDoors,
  ...stepUpDoors,
  ...passkeyDoors,
]

const FILE = { 'Cache-Control': 'public, max-age=86400' }

/**
 * The pages of tenants, for people; `plane` finds the tenant of the host. Failures are pages, too, and so is what a browser is told of an
 * address of that host at which there is nothing; programs, and addresses of the API, get what `notFound` says.
 */
export function mountPages(app: Hono<AppEnv>, plane: MiddlewareHandler<AppEnv>, notFound: NotFoundHandler<AppEnv>): void {
  app.route('/', pageRoutes(plane))
  app.notFound(async (c) => {
    const refused = await notFound(c)
    if (!isPageRequest(c)) return refused
    try {
      const answered = await plane(c, async () => {})
      return answered instanceof Response ? answered : nothingHere(await errorPage(c, refused))
    } catch (error) {
      return nothingHere(await errorPage(c, onError(error instanceof Error ? error : new Error(String(error)), c)))
    }
  })
}

/** A browser that loads a page of a tenant's host, and no address of the API. */
const isPageRequest = (c: Context<AppEnv>) =>
  c.get('subdomain') !== null &&
  !/^\/(api|platform|oauth|\.well-known)(\/|$)/.test(c.req.path) &&
  (c.req.header('Accept') ?? '').includes('text/html')

function nothingHere(page: Response): Response {
  page.headers.append('Vary', 'Accept')
  return page
}

function pageRoutes(plane: MiddlewareHandler<AppEnv>) {
  const routes = new Hono<AppEnv>({ strict: false })
  // With any method, so that an address that is none on the base domain has no other methods there either.
  for (const path of new Set(doors.map((door) => door.path))) routes.use(path, onlyOfTenants)
  for (const door of doors) routes.on(door.method, [door.path], plane, ...guards(door), (c) => open(c, door))
  routes.get('/pages/style.css', async (c) => {
    const accent = c.req.query('accent')
    if (accent !== undefined && !/^[0-9a-f]{6}$/i.test(accent)) throw new Problem('not_found')
    return c.body(styleOf(await assetText(PAGE_FILES.rules, null), accent), 200, {
      'Content-Type': 'text/css; charset=utf-8',
      ...FILE,
    })
  })
  routes.get('/pages/page.js', async (c) =>
    c.body(await assetText(PAGE_FILES.script, null), 200, { 'Content-Type': 'text/javascript; charset=utf-8', ...FILE }),
  )
  routes.onError((error, c) => (c.get('subdomain') === null ? onError(error, c) : errorPage(c, onError(error, c))))
  return routes
}
