/**
 * The API reference: swagger-ui, served by this Worker, with search over operations and a login of its own. Threat: a page that shows
 * credentials to somebody else. So nothing is loaded from elsewhere, scripts are files of this origin, and requests go to this origin
 * alone; tokens stay in the memory of the page.
 */
import { html } from 'hono/html'

/** Own origin only; swagger-ui sets style attributes and draws its icons from data URLs. */
export const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"

const STYLE = `
body { margin: 0 }
#bar { font: 14px/1.5 sans-serif; display: flex; flex-wrap: wrap; gap: 1rem 2rem; padding: .75rem 1.25rem; background: #f3f4f6; border-bottom: 1px solid #d1d5db }
#bar form { display: flex; flex-wrap: wrap; gap: .5rem; align-items: center }
#bar input { padding: .25rem .5rem; border: 1px solid #9ca3af; border-radius: 4px; font: inherit }
#bar button { padding: .25rem .75rem; border: 0; border-radius: 4px; background: #1f2937; color: #fff; font: inherit; cursor: pointer }
`

const login = (label: string, at: string) => html`<form id="login" data-at="${at}">
        <strong>${label}</strong>
        <input name="username" aria-label="E-mail or username" placeholder="E-mail or username" autocomplete="username" required>
        <input name="password" aria-label="Password" placeholder="Password" type="password" autocomplete="current-password" required>
        <button>Log in</button>
        <output></output>
      </form>`

const tenant = (address: string) => html`<form id="tenant" data-address="${address}">
        <strong>Which tenant?</strong>
        <input name="tenant" aria-label="Tenant" placeholder="acme" pattern="[a-z0-9]([a-z0-9\\-]*[a-z0-9])?" required>
        <button>Open its reference</button>
      </form>`

/**
 * The page: on the host of a tenant people log in there; on the base domain it asks for the tenant, whose address `tenants` is with
 * `{tenant}` for its name, and operators log in.
 */
export const page = (tenants: string, subdomain: string | null) => html`<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>Freehold API</title>
    <link rel="stylesheet" href="/docs/swagger-ui.css">
    <style>${STYLE}</style>
  </head>
  <body>
    <div id="bar">
      ${
        subdomain === null
          ? [tenant(`${tenants}/docs`), login('Operators:', '/platform/v1/auth/login')]
          : login(`${subdomain}:`, '/api/v1/auth/login')
      }
    </div>
    <div id="api"></div>
    <script src="/docs/swagger-ui-bundle.js"></script>
    <script src="/docs/start.js"></script>
  </body>
</html>
`
