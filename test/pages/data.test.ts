/**
 * The own data of an account on its pages, in workerd. Threat: a form of another page sets a picture, erases an account or removes a
 * login; a picture is shown to another account of the same browser; the last way in is removed.
 */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { ANIMATED, pngPicture } from '../avatars/pictures.ts'
import { SVG } from '../settings/images.ts'
import { addPerson, type Inside, inside, type Person } from '../support/inside.ts'
import { originOf } from '../support/jar.ts'
import { call } from '../support/people.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { hiddenIn, newVisitor, tagIn, textOf, type Visitor } from '../support/visitors.ts'

const AT = 'pages-data'
const [DATA, PICTURE, REMOVE] = ['/account/data', '/account/picture', '/account/picture/remove']
const [ERASE, KEEP, LOGINS, UNLINK] = ['/account/erase', '/account/erase/cancel', '/account/logins', '/account/logins/remove']
let realm: Inside
let who: Person
let visitor: Visitor

beforeAll(async () => {
  await copyTenant(AT)
  realm = await inside(AT)
  who = await addPerson(realm, 'data-owner')
  visitor = newVisitor(AT)
  await visitor.logIn(who.username, who.password)
})

/** A form with a file, as a browser sends it. */
async function multipart(fields: Record<string, string>, file?: Uint8Array<ArrayBuffer>, name = 'me.png') {
  const data = new FormData()
  for (const [key, value] of Object.entries(fields)) data.set(key, value)
  data.set('picture', new File(file ? [file] : [], file ? name : '', { type: 'image/png' }))
  const body = new Response(data)
  return {
    raw: new Uint8Array(await body.arrayBuffer()),
    headers: { 'Content-Type': body.headers.get('Content-Type') ?? '' },
  }
}
const upload = async (file?: Uint8Array<ArrayBuffer>, more: Record<string, string> = {}, by = visitor) => {
  const { html } = await by.ask(DATA)
  return by.ask(PICTURE, await multipart({ ...hiddenIn(html, PICTURE), ...more }, file))
}
const wrongOf = (html: string) => textOf(/id="picture-wrong">([\s\S]*?)<\/div>/.exec(html)?.[1] ?? '')

describe('a picture', () => {
  it('is set and removed by forms, and shown as soon as it is there', async () => {
    const before = await visitor.ask(DATA)
    expect([before.status, before.html.includes(`action="${REMOVE}"`)]).toEqual([200, false])
    expect((await visitor.ask(`${PICTURE}?size=64`)).headers.get('Content-Type')).toBe('image/svg+xml')
    const set = await upload(await pngPicture(100, 100))
    expect([set.status, set.location]).toEqual([303, `${DATA}?said=picture_set`])
    const page = await visitor.ask(`${DATA}?said=picture_set`)
    expect(textOf(page.html)).toContain('Others see your new picture.')
    const shown = await visitor.ask(tagIn(page.html, 'img', { class: 'avatar' })?.src ?? '')
    expect([shown.status, shown.headers.get('Content-Type'), shown.trips]).toEqual([200, 'image/webp', 1])
    expect(shown.headers.get('Cache-Control')).toBe('private, no-cache, no-transform')
    const removed = await visitor.send(DATA, REMOVE)
    expect([removed.status, removed.location]).toEqual([303, `${DATA}?said=picture_removed`])
    expect((await visitor.ask(PICTURE)).headers.get('Content-Type')).toBe('image/svg+xml')
  })

  it('that is none is refused at its field', async () => {
    for (const [file, said] of [
      [SVG, 'Is no PNG, JPEG or WebP image.'],
      [await pngPicture(9000, 1), 'Must be at most 8192 pixels wide and high: it is 9000 by 1.'],
      [await pngPicture(9, 9, { more: [ANIMATED] }), 'Must not be animated.'],
    ] as const) {
      const { status, html } = await upload(file)
      expect([status, wrongOf(html)]).toEqual([400, said])
    }
    const none = await upload()
    expect([none.status, wrongOf(none.html).length > 0]).toEqual([400, true])
    expect((await upload(new Uint8Array(2 * 1024 * 1024 + 32 * 1024))).status).toBe(413)
    const { html } = await visitor.ask(DATA)
    const urlencoded = await visitor.ask(PICTURE, { form: { ...hiddenIn(html, PICTURE), picture: 'x' } })
    expect(urlencoded.status).toBe(415)
    const broken = await visitor.ask(PICTURE, { raw: 'x', headers: { 'Content-Type': 'multipart/form-data; boundary=a' } })
    expect(broken.status).toBe(403)
  })

  it('is set by a form of this page alone, and shown to its account alone', async () => {
    const picture = await pngPicture(10, 10)
    expect((await upload(picture, { form: 'a'.repeat(43) })).status).toBe(403)
    const { html } = await visitor.ask(DATA)
    const sent = await multipart(hiddenIn(html, PICTURE), picture)
    const foreign = await visitor.ask(PICTURE, { ...sent, headers: { ...sent.headers, Origin: 'https://evil.test' } })
    expect(foreign.status).toBe(403)
    expect((await newVisitor(AT).ask(PICTURE)).status).toBe(303)
    expect((await visitor.ask(PICTURE, { headers: { 'Sec-Fetch-Site': 'same-site', 'Sec-Fetch-Mode': 'no-cors' } })).status).toBe(
      403,
    )
    const user = await call(AT, '/api/v1/auth/me', { token: await tokenOf(AT, who.username) })
    expect(user.body.avatar).toBeNull()
  })
})

describe('a copy of everything', () => {
  it('is downloaded as one file or as tables, from this page and not from elsewhere', async () => {
    const json = await visitor.ask(`${DATA}/export?format=json`)
    expect([json.status, json.headers.get('Content-Disposition')?.startsWith('attachment')]).toEqual([200, true])
    expect(JSON.parse(json.html).user.username).toBe(who.username)
    const zip = await visitor.ask(`${DATA}/export?format=zip`)
    expect([zip.headers.get('Content-Type'), zip.html.startsWith('PK')]).toEqual(['application/zip', true])
    const elsewhere = await visitor.ask(`${DATA}/export`, { headers: { 'Sec-Fetch-Site': 'cross-site' } })
    expect(elsewhere.status).toBe(403)
  })
})

describe('the end of an account', () => {
  it('is asked for with a box that is ticked, shown while it comes, and taken back', async () => {
    const unsure = await visitor.send(DATA, ERASE)
    expect(unsure.status).toBe(400)
    const asked = await visitor.send(DATA, ERASE, { sure: 'yes' })
    expect([asked.status, asked.location]).toEqual([303, `${DATA}?said=erasure_asked`])
    const page = await visitor.ask(`${DATA}?said=erasure_asked`)
    expect(textOf(page.html)).toContain('Your account will be erased on')
    expect([page.html.includes(`action="${ERASE}"`), page.html.includes(`action="${KEEP}"`)]).toEqual([false, true])
    const kept = await visitor.send(DATA, KEEP)
    expect([kept.status, kept.location]).toEqual([303, `${DATA}?said=erasure_cancelled`])
    expect((await visitor.ask(DATA)).html).toContain(`action="${ERASE}"`)
  })

  it('asks for a proof in a session that is old, and asks nothing of the database before', async () => {
    await realm.asOwner(sql`update freehold.sessions set authenticated_at = now() - interval '1 day' where user_id = ${who.id}`)
    const asked = await visitor.send(DATA, ERASE, { sure: 'yes' })
    expect([asked.status, asked.html.includes('action="/account/step-up"')]).toEqual([401, true])
    const open = await realm.asOwner(
      sql`select 1 from freehold.erasures e where e.user_id = ${who.id} and e.cancelled_at is null`,
    )
    expect(open).toEqual([])
    await realm.asOwner(sql`update freehold.sessions set authenticated_at = now() where user_id = ${who.id}`)
  })

  it('that an administrator asked for is shown, and cannot be taken back here', async () => {
    await realm.asOwner(
      sql`insert into freehold.erasures (id, user_id, requested_by, erase_at) select gen_random_uuid(), ${who.id}, u.id, now() + interval '7 days' from freehold.users u where u.username = 'bo'`,
    )
    const page = await visitor.ask(DATA)
    expect(textOf(page.html)).toContain('only an administrator can cancel it')
    expect([page.html.includes(`action="${ERASE}"`), page.html.includes(`action="${KEEP}"`)]).toEqual([false, false])
    await realm.asOwner(sql`delete from freehold.erasures e where e.user_id = ${who.id}`)
  })
})

describe('logins from elsewhere', () => {
  const link = async (subject: string) => {
    await realm.asOwner(
      sql`insert into freehold.providers (id, name, label, type, issuer, client_id) values (gen_random_uuid(), 'elsewhere', 'Elsewhere', 'oidc', 'https://elsewhere.test', 'us') on conflict do nothing`,
      sql`insert into freehold.external_identities (id, user_id, provider_id, provider, issuer, external_id, email)
        select gen_random_uuid(), ${who.id}, p.id, p.name, 'https://elsewhere.test', ${subject}, 'me@elsewhere.test' from freehold.providers p where p.name = 'elsewhere'`,
    )
  }

  it('are listed and removed; one that is gone is no failure', async () => {
    expect(textOf((await visitor.ask(LOGINS)).html)).toContain('You have no logins from elsewhere.')
    await link('one')
    const page = await visitor.ask(LOGINS)
    expect(textOf(page.html)).toContain('me@elsewhere.test')
    const form = hiddenIn(page.html, UNLINK)
    const gone = await visitor.ask(UNLINK, { form })
    expect([gone.status, gone.location]).toEqual([303, `${LOGINS}?said=login_removed`])
    expect((await visitor.ask(UNLINK, { form })).location).toBe(`${LOGINS}?said=login_was_removed`)
    expect((await visitor.ask(UNLINK, { form: { ...form, id: 'x' } })).status).toBe(400)
    expect((await visitor.ask(UNLINK, { form, headers: { Origin: `${originOf(AT)}.evil.test` } })).status).toBe(403)
  })

  it('stay when one is the only way in, in words that say what to do', async () => {
    await link('two')
    await realm.asOwner(sql`update freehold.passwords set replaced_at = now() where user_id = ${who.id}`)
    const refused = await visitor.send(LOGINS, UNLINK)
    expect([refused.status, textOf(refused.html).includes('This is the only way into your account.')]).toEqual([409, true])
    expect(textOf((await visitor.ask(LOGINS)).html)).toContain('me@elsewhere.test')
  })
})
