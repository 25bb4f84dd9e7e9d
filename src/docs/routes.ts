import { Hono } from 'hono'
import { assetText } from '../assets/assets.ts'
import type { AppEnv } from '../http/app-env.ts'
import { SPANISH } from '../i18n/language.ts'
import { readSpanish } from '../i18n/read-spanish.ts'
import { type Code, Problem, problemCatalogue } from '../kernel/problem.ts'
import { tenantUrl } from '../names/hosts.ts'
import { SCRIPT } from './assets.ts'
import { POLICY, page } from './page.ts'

const FILES = {
  'swagger-ui.css': 'text/css; charset=utf-8',
  'swagger-ui-bundle.js': 'text/javascript; charset=utf-8',
} as const

/** The API reference page, and the pages that problem types link to. */
export const docsRoutes = new Hono<AppEnv>({ strict: false })
  .get('/docs', (c) =>
    c.html(page(tenantUrl(c.var.config, '{tenant}'), c.var.subdomain), 200, { 'Content-Security-Policy': POLICY }),
  )
  .get('/docs/start.js', async (c) =>
    c.body(await assetText(SCRIPT, null), 200, { 'Content-Type': FILES['swagger-ui-bundle.js'] }),
  )
  .get('/docs/:file', async (c) => {
    const file = c.req.param('file') as keyof typeof FILES
    // Nothing else that is beside the Worker, whatever the path says: `swagger-ui.css/../…`.
    if (!Object.hasOwn(FILES, file)) throw new Problem('not_found')
    const found = await c.env.ASSETS.fetch(new URL(`/${file}`, c.req.url))
    if (!found.ok) throw new Problem('not_found')
    return new Response(found.body, { headers: { 'Content-Type': FILES[file], 'Cache-Control': 'public, max-age=3600' } })
  })
  .get('/problems/:code', async (c) => {
    const code = c.req.param('code')
    if (!Object.hasOwn(problemCatalogue, code)) throw new Problem('not_found')
    const [status, title, remedy] = problemCatalogue[code as Code]
    await readSpanish()
    const es = { title: SPANISH.title(code as Code), remedy: SPANISH.sentence(remedy) }
    return c.json({ code, status, title, remedy, es })
  })
