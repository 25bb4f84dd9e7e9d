/** Alerts of competencies that end soon: to their holders and managers, once each. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { maintainLater } from '../support/databases.ts'
import { type Inside, inside } from '../support/inside.ts'
import { copyTenant } from '../support/tenants.ts'
import { addMember } from '../users/cast.ts'
import { addRecord, addType } from './cast.ts'

const AT = 'skill-alerts'
let realm: Inside
const id: Record<string, string> = {}

beforeAll(async () => {
  await copyTenant(AT)
  realm = await inside(AT)
  await maintainLater(realm.id)
  id.boss = (await addMember(realm, 'boss')).id
  for (const name of ['Scale', 'Crane', 'Pump']) id[name] = await addType(realm, name)
})

let people = 0
const somebody = async (manager_id: string | null = null) => (await addMember(realm, `held-${++people}`, { manager_id })).id
const add = (user_id: string, type: string, expires: number, more: object = {}) =>
  addRecord(realm, { user_id, type_id: id[type] ?? '', expires, by: id.boss ?? '', ...more })
const run = async () => (await realm.asOwner(sql`select access.alert_expiring_competencies(100) as n`))[0]?.n
const age = (user: string, days: number) =>
  realm.asOwner(
    sql`alter table freehold.competencies disable trigger user`,
    sql`update freehold.competencies set expires_at = expires_at - make_interval(days => ${days}::integer) where user_id = ${user}`,
    sql`alter table freehold.competencies enable trigger user`,
  )
/** What was mailed to somebody, oldest first. */
const mails = (user: string) =>
  realm.asOwner(sql`select kind, recipient, data, locale from freehold.mails where user_id = ${user} order by created_at, id`)
const count = async (user: string) => (await mails(user)).length

describe('an alert', () => {
  it('comes 60, 30 and 7 days ahead, once each, however often the job runs', async () => {
    const user = await somebody()
    await add(user, 'Scale', 75)
    const told: number[] = []
    for (const days of [0, 14, 2, 29, 1, 22, 2, 4, 3]) {
      await age(user, days)
      await run()
      await run()
      told.push(await count(user))
    }
    // 75, 61, 59, 30, 29, 7, 5, 1 and -2 days are left.
    expect(told).toEqual([0, 0, 1, 2, 2, 3, 3, 3, 3])
  })

  it('of one that is recorded 20 days ahead comes once, and then 7 days ahead', async () => {
    const user = await somebody()
    await add(user, 'Scale', 20)
    for (let n = 0; n < 3; n++) await run()
    expect(await count(user)).toBe(1)
    await age(user, 14)
    await run()
    expect(await count(user)).toBe(2)
  })

  it('goes to the holder and the manager, with all that is due in one mail each', async () => {
    const user = await somebody(id.boss)
    await add(user, 'Scale', 50)
    await add(user, 'Crane', 6)
    expect(await run()).toBe(2)
    const day = (days: number) => new Date(Date.now() + days * 86_400_000).toISOString().slice(0, 10)
    const competencies = `Crane (${day(6)}); Scale (${day(50)})`
    expect(await mails(user)).toMatchObject([{ kind: 'competency_expires', data: { competencies } }])
    const noticed = await realm.asOwner(
      sql`select event, params ->> 'competency' as competency, mail from freehold.notifications where user_id = ${user} order by 2`,
    )
    expect(noticed).toEqual(['Crane', 'Scale'].map((competency) => ({ event: 'competency_expires', competency, mail: null })))
    expect(await mails(id.boss ?? '')).toMatchObject([
      { kind: 'competency_expires_of_other', data: { competencies, person: 'Cyan Okonkwo' } },
    ])
  })

  it.each<[string, number, object]>([
    ['was not verified', 20, { verified: null }],
    ['was revoked', 20, { revoked: -1 }],
    ['has expired', -1, {}],
    ['ends in 61 days', 61, {}],
  ])('of one that %s does not come', async (_, expires, more) => {
    const user = await somebody()
    await add(user, 'Pump', expires, more)
    expect([await run(), await count(user)]).toEqual([0, 0])
  })

  it('of one that was renewed does not come, unless at a lower level or of another type', async () => {
    const [renewed, lower, other] = [await somebody(), await somebody(), await somebody()]
    for (const user of [renewed, lower, other]) await add(user, 'Scale', 20)
    await add(renewed, 'Scale', 300, { issued: -1 })
    await add(lower, 'Scale', 300, { issued: -1, level: 2 })
    await add(other, 'Crane', 300, { issued: -1 })
    await run()
    expect(await Promise.all([renewed, lower, other].map(count))).toEqual([0, 1, 1])
  })

  it('does not go to whoever left or was erased, nor to a manager who did', async () => {
    const [gone, erased, led] = [await somebody(), await somebody(), await somebody(await somebody())]
    const manager = (await realm.asOwner(sql`select manager_id as id from freehold.users where id = ${led}`))[0]?.id
    for (const user of [gone, erased, led]) await add(user, 'Scale', 20)
    await realm.asOwner(
      sql`update freehold.users set is_active = false where id in (${gone}, ${manager})`,
      sql`update freehold.users set is_active = false, erased_at = now() where id = ${erased}`,
    )
    await run()
    expect(await Promise.all([gone, erased, led, manager].map(count))).toEqual([0, 0, 1, 0])
  })

  it('of a retired type does not come', async () => {
    const user = await somebody()
    const old = await addType(realm, 'Old')
    await addRecord(realm, { user_id: user, type_id: old, expires: 20, by: id.boss ?? '' })
    await realm.asOwner(sql`update freehold.competency_types set retired_at = now() where id = ${old}`)
    await run()
    expect(await count(user)).toBe(0)
  })
})

describe('the job', () => {
  it('run by ten at once mails each once', async () => {
    const users = await Promise.all(Array.from({ length: 8 }, () => somebody()))
    for (const user of users) await add(user, 'Scale', 20)
    await Promise.all(Array.from({ length: 10 }, run))
    expect(await Promise.all(users.map(count))).toEqual(Array(8).fill(1))
  })

  it('leaves a quarter of the mails of a day to people', async () => {
    const [one, other] = [await somebody(), await somebody()]
    for (const user of [one, other]) await add(user, 'Scale', 20)
    await realm.asOwner(sql`update freehold.tenant set mail_per_day = 1`)
    await run()
    expect(await Promise.all([one, other].map(count))).toEqual([0, 0])
    await realm.asOwner(sql`update freehold.tenant set mail_per_day = 1000`)
    await run()
    expect(await Promise.all([one, other].map(count))).toEqual([1, 1])
  })
})
