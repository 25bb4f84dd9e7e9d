/** Threat: a page that shows the look of another tenant, or a name that becomes markup; a stranger who makes a database work by reloading. */
import { sql } from 'drizzle-orm'
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { PNG, webpOf } from '../settings/images.ts'
import { inside } from '../support/inside.ts'
import { later } from '../support/pages.ts'
import { call } from '../support/people.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { newVisitor, tagIn, textOf } from '../support/visitors.ts'

const [AT, PLAIN] = ['pages-look', 'pages-plain']
let token: string

beforeAll(async () => {
  await Promise.all([copyTenant(AT, { legal_name: 'Look Holding S.A.C.' }), copyTenant(PLAIN, { legal_name: 'Plain S.A.C.' })])
  token = await tokenOf(AT)
})

afterEach(() => void vi.useRealTimers())

const set = async (body: object) =>
  expect((await call(AT, '/api/v1/settings', { token, method: 'PATCH', body })).status).toBe(200)
const put = async (raw: Uint8Array<ArrayBuffer>, type: string) => {
  const headers = { 'Content-Type': type }
  expect((await call(AT, '/api/v1/settings/logo', { token, method: 'PUT', raw, headers })).status).toBe(200)
}
const pageAt = async (at: string, path = '/login') => {
  const { html, trips, headers } = await newVisitor(at).ask(path)
  const style = tagIn(html, 'link', { rel: 'stylesheet' })?.href ?? ''
  return { html, trips, headers, accent: new URL(style, 'http://x').searchParams.get('accent'), logo: tagIn(html, 'img')?.src }
}

it.each(['/login', '/register', '/reset-password', '/verify-email'])(
  '%s has the name, the colour and the logo of its tenant, in one round trip',
  async (path) => {
    await set({ name: 'Look & <b>Co</b>', accent_color: '#7A1F79' })
    await put(PNG, 'image/png')
    const page = await pageAt(AT, path)
    expect(page).toMatchObject({ trips: 1, accent: '7a1f79', logo: expect.stringMatching(/^\/logo\?v=[0-9a-f]{16}$/) })
    expect(textOf(page.html)).toContain('Look & <b>Co</b>')
    expect(page.html).not.toMatch(/<b>Co|Holding/)
    expect(page.headers.get('Content-Security-Policy')).toContain("img-src 'self'")
    const shown = await call(AT, page.logo ?? '')
    expect([shown.status, shown.headers.get('Content-Type')]).toEqual([200, 'image/png'])
  },
)

it('another logo has another address, and without one the page shows the initial', async () => {
  await put(PNG, 'image/png')
  const before = await pageAt(AT)
  await put(webpOf(2, 2), 'image/webp')
  expect((await pageAt(AT)).logo).not.toBe(before.logo)
  expect((await call(AT, '/api/v1/settings/logo', { token, method: 'DELETE' })).status).toBe(204)
  await set({ name: 'Ñandú', accent_color: null })
  const after = await pageAt(AT)
  expect(after).toMatchObject({ logo: undefined, accent: '1f4e79' })
  expect(after.html).toContain('>Ñ</span>')
})

it('a tenant that chose nothing has its legal name and our colour, whatever another chose', async () => {
  await set({ name: 'Look', accent_color: '#ffd400' })
  const page = await pageAt(PLAIN)
  expect(page).toMatchObject({ logo: undefined, accent: '1f4e79' })
  expect(textOf(page.html)).toContain('Plain S.A.C.')
  expect(textOf((await pageAt(AT)).html)).not.toContain('Plain')
})

it('the style sheet makes of a colour one that can be read in either scheme', async () => {
  const sheet = await newVisitor(AT).ask('/pages/style.css?accent=ffd400')
  const accents = [...sheet.html.matchAll(/--accent:(#\w{6});--on-accent:(#\w{6})/g)].map(([, accent, on]) => [accent, on])
  expect(accents).toHaveLength(2)
  expect(accents[0]?.[0]).not.toBe('#ffd400')
  expect(accents[1]).toEqual(['#ffd400', '#000000'])
})

describe('the cost for the database of a tenant', () => {
  const PUBLIC = ['/login', '/register', '/reset-password', '/reset-password?step=ask', '/verify-email', '/email-change']

  it('is one round trip in two seconds, however often strangers load its pages, also at once', async () => {
    later()
    const shown = await Promise.all(Array.from({ length: 30 }, (_, n) => newVisitor(AT).ask(PUBLIC[n % PUBLIC.length] ?? '')))
    expect(shown.map(({ status }) => status)).toEqual(Array(30).fill(200))
    expect(shown.reduce((sum, { trips }) => sum + trips, 0)).toBe(1)
    later()
    expect([(await newVisitor(AT).ask('/login')).trips, (await newVisitor(AT).ask('/register')).trips]).toEqual([1, 0])
  })

  it('is none for forms that are shown again because their token is missing', async () => {
    later()
    await newVisitor(AT).ask('/login')
    for (const path of ['/login', '/register', '/reset-password', '/reset-password/confirm', '/verify-email'])
      expect((await newVisitor(AT).ask(path, { form: { form: 'x' } })).trips, path).toBe(0)
  })

  it('is one round trip in two seconds for the logo, also where there is none', async () => {
    await put(PNG, 'image/png')
    for (const [at, status] of [
      [AT, 200],
      [PLAIN, 404],
    ] as const) {
      later()
      const shown = await Promise.all(Array.from({ length: 20 }, () => call(at, '/logo')))
      expect(shown.map((answer) => answer.status)).toEqual(Array(20).fill(status))
      expect(shown.reduce((sum, { trips }) => sum + trips, 0)).toBe(1)
    }
  })

  it('a look that was changed elsewhere is felt after two seconds', async () => {
    await set({ name: 'Before' })
    later()
    expect(textOf((await pageAt(AT)).html)).toContain('Before')
    const realm = await inside(AT)
    await realm.asOwner(sql`update freehold.tenant set name = 'After'`)
    later()
    expect(textOf((await pageAt(AT)).html)).toContain('After')
  })
})
