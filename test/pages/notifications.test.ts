/** The page of notifications, in workerd. */
import { sql } from 'drizzle-orm'
import { beforeAll, expect, it } from 'vitest'
import { addPerson, type Inside, inside } from '../support/inside.ts'
import { ADMIN, call } from '../support/people.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { hiddenIn, newVisitor, textOf, type Visitor } from '../support/visitors.ts'

const AT = 'pages-notified'
const PAGE = '/account/notifications'
const READ = `${PAGE}/read`
const READ_ALL = `${PAGE}/read-all`
const CHOOSE = `${PAGE}/preferences`
let realm: Inside
let bo: string
let visitor: Visitor

beforeAll(async () => {
  await copyTenant(AT)
  realm = await inside(AT)
  bo = (await realm.asOwner(sql`select id from freehold.users where username = 'bo'`))[0]?.id
  visitor = newVisitor(AT)
  await visitor.logIn(ADMIN.email, ADMIN.password)
})

const tell = (competency: string, to = bo) =>
  realm.asOwner(
    sql`select access.notify(${to}, 'competency_expired', ${JSON.stringify({ competency, expires_at: '2026-01-01' })}::jsonb)`,
  )
const unread = async () => (await call(AT, '/api/v1/notifications/unread-count', { token: await tokenOf(AT) })).body.unread

it('says that there is nothing, shows what there is, also in Spanish, and no markup of others', async () => {
  const empty = await visitor.ask(PAGE)
  expect([empty.status, empty.trips <= 2, textOf(empty.html).includes('There is nothing new for you.')]).toEqual([
    200,
    true,
    true,
  ])
  await tell('<b>Welding</b>')
  const page = await visitor.ask(PAGE)
  expect(textOf(page.html)).toContain('A competency has expired')
  expect(page.html).toContain('&lt;b&gt;Welding&lt;/b&gt;')
  const spanish = await visitor.ask(PAGE, { headers: { 'Accept-Language': 'es' } })
  expect(textOf(spanish.html)).toContain('Una competencia ha caducado')
})

it('one is marked as read, and then all; what is gone is no error', async () => {
  await tell('One')
  await tell('Two')
  const before = await unread()
  const form = hiddenIn((await visitor.ask(PAGE)).html, READ)
  expect((await visitor.ask(READ, { form })).location).toBe(`${PAGE}?said=notification_read`)
  expect(await unread()).toBe(before - 1)
  expect((await visitor.ask(READ, { form: { ...form, id: crypto.randomUUID() } })).location).toBe(
    `${PAGE}?said=notification_read`,
  )
  expect((await visitor.ask(READ, { form: { ...form, form: 'forged' } })).status).toBe(403)
  const all = hiddenIn((await visitor.ask(PAGE)).html, READ_ALL)
  expect((await visitor.ask(READ_ALL, { form: all })).location).toBe(`${PAGE}?said=notifications_read`)
  expect(await unread()).toBe(0)
  expect((await visitor.ask(PAGE)).html).not.toContain(`action="${READ_ALL}"`)
})

it('nobody marks what is somebody else’s', async () => {
  const cy = await addPerson(realm, 'cy')
  await tell('Theirs', cy.id)
  const [row] = await realm.asOwner(sql`select id from freehold.notifications where user_id = ${cy.id}`)
  await tell('Mine')
  const form = hiddenIn((await visitor.ask(PAGE)).html, READ)
  await visitor.ask(READ, { form: { ...form, id: row?.id } })
  expect(await realm.asOwner(sql`select read_at from freehold.notifications where id = ${row?.id}`)).toEqual([{ read_at: null }])
})

it('comes in pages', async () => {
  for (let i = 0; i < 25; i++) await tell(`No. ${i}`)
  const first = await visitor.ask(PAGE)
  expect(textOf(first.html)).toContain('No. 24')
  const [, older = ''] = /href="(\/account\/notifications\?cursor=[^"]+)"/.exec(first.html) ?? []
  expect(textOf((await visitor.ask(older.replaceAll('&amp;', '&'))).html)).toContain('No. 1 expired')
  expect((await visitor.ask(`${PAGE}?cursor=c.no.thing`)).status).toBe(400)
})

it('what is chosen is kept, and shown as it is', async () => {
  const { html } = await visitor.ask(PAGE)
  const kinds = ['security', 'competency', 'invitation', 'delegation', 'license']
  const form = {
    ...hiddenIn(html, CHOOSE),
    ...Object.fromEntries(kinds.map((kind) => [`${kind}_mail`, 'digest'])),
    security_in_app: 'yes',
  }
  expect((await visitor.ask(CHOOSE, { form })).location).toBe(`${PAGE}?said=notifications_chosen`)
  const { body } = await call(AT, '/api/v1/notifications/preferences', { token: await tokenOf(AT) })
  expect(body).toEqual(Object.fromEntries(kinds.map((kind) => [kind, { in_app: kind === 'security', mail: 'digest' }])))
  expect((await visitor.ask(CHOOSE, { form: { ...form, security_mail: 'hourly' } })).status).toBe(400)
})
