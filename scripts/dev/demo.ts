import { rucFor } from './settings.ts'

type Login = { email: string; password: string }
type Answer = { code?: string; access_token?: string; must_change_password?: boolean }

/** Creates the tenant `demo` through the API, as the first operator. An existing one stays as it is. */
export async function demoTenant(options: {
  port: number
  url: string
  operator: Login
  admin: Login
  say: (line: string) => void
}) {
  const { port, url, operator, admin, say } = options
  const base = `http://127.0.0.1:${port}/platform/v1`
  const post = async (path: string, body: unknown, headers: Record<string, string> = {}) => {
    const answer = await fetch(`${base}${path}`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', ...headers },
      body: JSON.stringify(body),
    })
    return { status: answer.status, body: (await answer.json()) as Answer }
  }
  const tenant = { subdomain: 'demo', url: url.replace('://', '://demo.'), ...admin }
  const login = await post('/auth/login', operator)
  if (login.status !== 200 && login.body.code !== 'invalid_credentials')
    throw new Error(`The first operator cannot log in: ${JSON.stringify(login.body)}`)
  if (login.status !== 200) {
    say('The password of the first operator was changed; the tenant demo stays as it is.')
    return tenant
  }
  if (login.body.must_change_password) {
    say('The password of the first operator has expired and must be changed; the tenant demo stays as it is.')
    return tenant
  }
  const made = await post(
    '/tenants',
    {
      subdomain: 'demo',
      legal_name: 'Demo',
      environment: 'demo',
      tax_id: rucFor('demo'),
      admin_email: admin.email,
      admin_password: admin.password,
    },
    { Authorization: `Bearer ${login.body.access_token}`, Prefer: 'wait=30' },
  )
  if (made.status !== 201 && made.body.code !== 'subdomain_taken')
    throw new Error(`The tenant demo could not be created: ${JSON.stringify(made.body)}`)
  if (made.status === 201) say('The tenant demo is created.')
  return tenant
}
