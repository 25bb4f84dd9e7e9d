/** Threat: whoever has somebody's password, or their refresh token, uses it from elsewhere, and nobody sees it. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, inject, it, vi } from 'vitest'
import { locationOf } from '../../src/sessions/device.ts'
import { databaseOf, refusalOf } from '../support/databases.ts'
import { addPerson, type Inside, inside } from '../support/inside.ts'
import { call } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { attemptsOf, CUSCO, enter, headersOf, hoursPass, LIMA, OSLO, refresh, set, suspicions } from './cast.ts'

const AT = 'risky'
let realm: Inside
let admin: string

beforeAll(async () => {
  await copyTenant(AT)
  await copyTenant('risky-too')
  realm = await inside(AT)
  admin = await tokenOf(AT)
  await set(AT, admin, { risk_action: 'none' })
})

const last = async (who: { id: string }) => (await attemptsOf(realm, who)).at(-1)

describe('a login says of itself', () => {
  it('nothing, where it is the first, or as those before', async () => {
    const ana = await addPerson(realm, 'ana-risk')
    for (let i = 0; i < 2; i++) {
      const answer = await enter(AT, ana, LIMA)
      expect([answer.status, answer.trips]).toEqual([200, 2])
    }
    expect(await attemptsOf(realm, ana)).toEqual(
      [1, 2].map(() => ({
        kind: 'login',
        score: 0,
        outcome: 'allowed',
        reasons: [],
        country: 'PE',
        network: '203.0.113.7',
        asn: 6147,
      })),
    )
    expect(await suspicions(realm, ana)).toEqual([])
  })

  it('that the device is new, half so for one of the same make, and not at all with its token', async () => {
    const bea = await addPerson(realm, 'bea-risk')
    const { device_token } = (await enter(AT, bea, LIMA)).body
    await enter(AT, bea, { ...LIMA, agent: 'Other/2' })
    expect(await last(bea)).toMatchObject({ score: 20, reasons: ['new_device'] })
    await hoursPass(realm, bea, 1000)
    await enter(AT, bea, { ...OSLO, agent: 'Firefox/1' })
    expect(await last(bea)).toMatchObject({ score: 40, reasons: ['new_device', 'new_country', 'new_network'] })
    await hoursPass(realm, bea, 1000)
    await enter(AT, bea, { ...OSLO, place: 'JP;Tokyo;35.68;139.69;2516', address: '198.51.100.9', device_token })
    expect(await last(bea)).toMatchObject({ score: 30, reasons: ['new_country', 'new_network'] })
  })

  it('that the network is new, unless another address of it was seen', async () => {
    const cy = await addPerson(realm, 'cy-risk')
    await enter(AT, cy, LIMA)
    await enter(AT, cy, { ...LIMA, address: '203.0.113.200' })
    expect(await last(cy)).toMatchObject({ score: 0, reasons: [] })
    await enter(AT, cy, { ...LIMA, address: '192.0.2.1', place: 'PE;Lima;-12.05;-77.04;12252' })
    expect(await last(cy)).toMatchObject({ score: 10, reasons: ['new_network'] })
  })

  it('that nobody travels so fast, and not that somebody took an airliner', async () => {
    const [dan, eva] = [await addPerson(realm, 'dan-risk'), await addPerson(realm, 'eva-risk')]
    for (const who of [dan, eva]) await enter(AT, who, LIMA)
    await hoursPass(realm, dan, 1)
    await hoursPass(realm, eva, 14)
    for (const who of [dan, eva]) await enter(AT, who, { ...OSLO, agent: LIMA.agent })
    expect((await last(dan))?.reasons).toContain('impossible_travel')
    expect((await last(eva))?.reasons).not.toContain('impossible_travel')
  })

  it('that wrong passwords went before it, from the second on', async () => {
    const fay = await addPerson(realm, 'fay-risk')
    await enter(AT, fay, LIMA)
    const wrong = async () => expectProblem(await enter(AT, fay, LIMA, 'Wrong-1'), 401, 'invalid_credentials')
    await wrong()
    await enter(AT, fay, LIMA)
    expect(await last(fay)).toMatchObject({ score: 0, reasons: [] })
    for (let i = 0; i < 3; i++) await wrong()
    await enter(AT, fay, LIMA)
    expect(await last(fay)).toMatchObject({ score: 13, reasons: ['failures'] })
  })

  it('nothing of the wrong passwords of strangers, where its device is known', async () => {
    const gus = await addPerson(realm, 'gus-risk')
    const { device_token } = (await enter(AT, gus, LIMA)).body
    for (let i = 0; i < 3; i++) await enter(AT, gus, OSLO, 'Wrong-1')
    await enter(AT, gus, { ...LIMA, device_token })
    expect(await last(gus)).toMatchObject({ score: 0, reasons: [] })
  })

  it('that nobody logs in at such an hour', async () => {
    const hal = await addPerson(realm, 'hal-risk')
    await realm.asOwner(
      sql`insert into freehold.risk_attempts (id, user_id, kind, agent, network, country, outcome, created_at)
        select gen_random_uuid(), ${hal.id}, 'login', 'Firefox/1', '203.0.113.7', 'PE', 'allowed',
          now() - make_interval(days => n) + interval '8 hours'
        from generate_series(1, 25) n`,
    )
    await enter(AT, hal, LIMA)
    expect(await last(hal)).toMatchObject({ score: 10, reasons: ['unusual_hour'] })
  })

  it('that a token of another tenant was shown from its network within the hour', async () => {
    const ida = await addPerson(realm, 'ida-risk')
    const from = { ...LIMA, address: '192.0.2.77' }
    await enter(AT, ida, from)
    const token = await tokenOf('risky-too')
    for (let i = 0; i < 3; i++)
      expectProblem(await call(AT, '/api/v1/auth/me', { token, headers: headersOf(from) }), 401, 'token_wrong_tenant')
    // Refusals are recorded after the answer.
    const noted = () =>
      realm.asOwner(sql`select distinct network, outcome from freehold.risk_attempts where kind = 'foreign_token'`)
    await vi.waitFor(async () => expect(await noted()).toEqual([{ network: '192.0.2.77', outcome: 'noted' }]))
    await enter(AT, ida, from)
    expect(await last(ida)).toMatchObject({ score: 40, reasons: ['foreign_token'] })
    await enter(AT, ida, LIMA)
    expect((await last(ida))?.reasons).not.toContain('foreign_token')
  })

  it('that many accounts were tried from its network, known or not', async () => {
    const [jon, kim] = [await addPerson(realm, 'jon-risk'), await addPerson(realm, 'kim-risk')]
    const from = { ...LIMA, address: '192.0.2.140' }
    await enter(AT, jon, from)
    await enter(AT, kim, from, 'Wrong-1')
    for (const username of ['nobody-1', 'nobody-2', 'nobody-3']) await enter(AT, { ...jon, username }, from)
    await enter(AT, jon, from)
    expect(await last(jon)).toMatchObject({ score: 12, reasons: ['many_accounts'] })
  })

  it('that the password is known from a breach, where the tenant has it asked; and goes on where the list does not answer', async () => {
    const { url, passwords } = inject('breached')
    const lea = await addPerson(realm, 'lea-risk', { password: passwords[0] ?? '' })
    const listed = { ...LIMA, settings: { PWNED_PASSWORDS_URL: `${url}/listed/` } }
    await enter(AT, lea, listed)
    expect(await last(lea)).toMatchObject({ score: 0, reasons: [] })
    await set(AT, admin, { risk_breached: true, risk_weights: { breached_password: 60 } })
    const answer = await enter(AT, lea, listed)
    expect([answer.status, answer.trips]).toEqual([200, 2])
    expect(await last(lea)).toMatchObject({ score: 60, reasons: ['breached_password'] })
    await set(AT, admin, { risk_suspicious: 5 })
    const away = { PWNED_PASSWORDS_URL: 'http://127.0.0.1:1/range/' }
    expect((await enter(AT, lea, { ...LIMA, agent: 'Other/3', settings: away })).status).toBe(200)
    expect(await last(lea)).toMatchObject({ score: 20, reasons: ['new_device'] })
    expect((await suspicions(realm, lea)).at(-1)?.after.reasons).toEqual(['new_device', 'breached_password_unknown'])
    await set(AT, admin, { risk_breached: false, risk_suspicious: 50, risk_weights: { breached_password: 20 } })
  })

  it('its score in the entry of the audit, whatever it is', async () => {
    const mia = await addPerson(realm, 'mia-risk')
    await enter(AT, mia, LIMA)
    await enter(AT, mia, { ...LIMA, agent: 'Other/4' })
    const entries = await realm.asOwner(
      sql`select risk_score from freehold.audit_log where user_id = ${mia.id} and activity_type = 'LOGIN' order by at, id`,
    )
    expect(entries).toEqual([{ risk_score: 0 }, { risk_score: 20 }])
  })
})

describe('from the first threshold on', () => {
  it('the audit has the reasons, and the user is told, by mail too', async () => {
    const nia = await addPerson(realm, 'nia-risk')
    const home = (await enter(AT, nia, LIMA)).body.access_token
    await hoursPass(realm, nia, 1)
    expect((await enter(AT, nia, OSLO)).status).toBe(200)
    const reasons = ['new_device', 'new_country', 'new_network', 'impossible_travel']
    expect(await suspicions(realm, nia)).toEqual([
      { action: 'login', score: 90, after: { reason: 'risk', reasons, outcome: 'allowed', city: 'Oslo', country: 'NO' } },
    ])
    const told = await call(AT, '/api/v1/notifications', { token: home })
    expect(told.body.data.find(({ event }: { event: string }) => event === 'suspicious_activity')).toMatchObject({
      kind: 'security',
      text: 'A login to your account was unusual: a new device, a new country, a new network, too far from the login before. If that was not you, change your password.',
      params: { reasons: reasons.join(','), city: 'Oslo', country: 'NO' },
    })
    const spanish = await call(AT, '/api/v1/notifications', { token: home, headers: { 'Accept-Language': 'es' } })
    expect(JSON.stringify(spanish.body)).toContain('un país nuevo')
    expect(
      await realm.asOwner(
        sql`select mail from freehold.notifications where user_id = ${nia.id} and event = 'suspicious_activity'`,
      ),
    ).toEqual([{ mail: 'now' }])
  })

  it('nobody else is told, and another tenant has none of it', async () => {
    const too = await inside('risky-too')
    expect(await too.asOwner(sql`select count(*)::integer as n from freehold.risk_attempts`)).toEqual([{ n: 0 }])
    const answer = await call(AT, '/api/v1/notifications', { token: admin })
    expect(JSON.stringify(answer.body)).not.toContain('suspicious_activity')
  })
})

describe('a refresh', () => {
  it('of where its session is from costs one round trip and keeps nothing, but that it was seen', async () => {
    const ola = await addPerson(realm, 'ola-risk')
    const { refresh_token } = (await enter(AT, ola, LIMA)).body
    await hoursPass(realm, ola, 5)
    const answer = await refresh(AT, refresh_token, LIMA)
    expect([answer.status, answer.trips]).toEqual([200, 1])
    const rows = await realm.asOwner(
      sql`select seen_at > now() - interval '1 minute' as is_seen, created_at < now() - interval '4 hours' as is_old
        from freehold.risk_attempts where user_id = ${ola.id}`,
    )
    expect(rows).toEqual([{ is_seen: true, is_old: true }])
  })

  it('of elsewhere has a score, and its place is known from then on', async () => {
    const pia = await addPerson(realm, 'pia-risk')
    const first = (await enter(AT, pia, LIMA)).body.refresh_token
    await hoursPass(realm, pia, 1)
    const there = { ...OSLO, agent: LIMA.agent }
    const answer = await refresh(AT, first, there)
    expect([answer.status, answer.trips]).toEqual([200, 1])
    expect(await last(pia)).toMatchObject({
      kind: 'refresh',
      score: 70,
      outcome: 'allowed',
      reasons: ['new_country', 'new_network', 'impossible_travel'],
    })
    expect(await suspicions(realm, pia)).toMatchObject([{ action: 'refresh', score: 70 }])
    expect((await refresh(AT, answer.body.refresh_token, there)).status).toBe(200)
    expect((await attemptsOf(realm, pia)).length).toBe(2)
  })

  it('of elsewhere counts wrong passwords before it, and the hour, as a login does', async () => {
    const yda = await addPerson(realm, 'yda-risk')
    const { refresh_token } = (await enter(AT, yda, LIMA)).body
    await realm.asOwner(
      sql`insert into freehold.risk_attempts (id, user_id, kind, agent, network, asn, country, outcome, created_at)
        select gen_random_uuid(), ${yda.id}, 'login', 'Firefox/1', '203.0.113.7', 6147, 'PE', 'allowed', now() - make_interval(days => n) + interval '8 hours'
        from generate_series(2, 26) n`,
      sql`update freehold.risk_attempts set created_at = now() - interval '40 hours' where user_id = ${yda.id} and created_at > now() - interval '1 hour'`,
    )
    for (let i = 0; i < 3; i++) await enter(AT, yda, OSLO, 'Wrong-1')
    expect((await refresh(AT, refresh_token, { ...LIMA, agent: 'Another/3' })).status).toBe(200)
    expect(await last(yda)).toMatchObject({ kind: 'refresh', reasons: ['new_device', 'failures', 'unusual_hour'] })
  })

  it('of a town further is as any other', async () => {
    const ron = await addPerson(realm, 'ron-risk')
    const { refresh_token } = (await enter(AT, ron, LIMA)).body
    expect((await refresh(AT, refresh_token, CUSCO)).status).toBe(200)
    expect((await attemptsOf(realm, ron)).length).toBe(2)
    expect(await last(ron)).toMatchObject({ reasons: ['impossible_travel'] })
  })

  it('ends its session above the second threshold, as one that is not valid', async () => {
    const sam = await addPerson(realm, 'sam-risk')
    const { refresh_token, access_token } = (await enter(AT, sam, LIMA)).body
    await hoursPass(realm, sam, 1)
    await set(AT, admin, { risk_action: 'step_up' })
    const stopped = await refresh(AT, refresh_token, OSLO)
    const unknown = await refresh(AT, 'never-made', OSLO)
    await set(AT, admin, { risk_action: 'none' })
    expectProblem(stopped, 401, 'refresh_invalid')
    const told = ({ title, detail, type }: Record<string, string>) => ({ title, detail, type })
    expect(told(stopped.body)).toEqual(told(unknown.body))
    expect(await last(sam)).toMatchObject({ kind: 'refresh', score: 90, outcome: 'refused' })
    expectProblem(await call(AT, '/api/v1/auth/me', { token: access_token }), 401, 'session_ended')
    const [session] = await realm.asOwner(sql`select ended_because from freehold.sessions where user_id = ${sam.id}`)
    expect(session).toEqual({ ended_because: 'risk' })
  })

  it('of twenty at once with one token is told of once', async () => {
    const xia = await addPerson(realm, 'xia-risk')
    const { refresh_token } = (await enter(AT, xia, LIMA)).body
    await hoursPass(realm, xia, 1)
    await set(AT, admin, { risk_action: 'step_up' })
    const all = await Promise.all(Array.from({ length: 20 }, () => refresh(AT, refresh_token, OSLO)))
    await set(AT, admin, { risk_action: 'none' })
    for (const answer of all) expectProblem(answer, 401, 'refresh_invalid')
    expect((await attemptsOf(realm, xia)).length).toBe(2)
    expect(await suspicions(realm, xia)).toHaveLength(1)
  })
})

describe('the place', () => {
  it('is what a header says on a local Worker alone', async () => {
    const tea = await addPerson(realm, 'tea-risk')
    await enter(AT, tea, LIMA)
    expect((await last(tea))?.country).toBe('PE')
    const request = new Request('https://risky.example.com', { headers: headersOf(OSLO) })
    expect(locationOf(request, { ENVIRONMENT: 'local' })).toMatchObject({ country: 'NO', city: 'Oslo', latitude: 59.91 })
    const NOWHERE = { city: null, country: null, latitude: null, longitude: null, asn: null }
    expect(locationOf(request, { ENVIRONMENT: 'production' })).toEqual(NOWHERE)
    const cf = { city: 'Lima', country: 'PE', latitude: '-12.05', longitude: '-77.04', asn: 6147 }
    const told = Object.defineProperty(request, 'cf', { value: cf })
    expect(locationOf(told, { ENVIRONMENT: 'production' })).toEqual({ ...cf, latitude: -12.05, longitude: -77.04 })
  })

  it.each([
    'PE',
    ';;;;',
    'PE;Lima;north;west;no',
    'PE;Lima;1;1;6147.5',
    `XX;${'y'.repeat(4000)};999;999;-1`,
    'Perú;\u{1f600}'.normalize(),
  ])('may be nonsense: %.20s', async (place) => {
    const uma = await addPerson(realm, `uma-${[...place].length}-risk`)
    const answer = await enter(AT, uma, { ...LIMA, place: encodeURI(place) })
    expect(answer.status).toBe(200)
  })
})

describe('whoever runs SQL as the login of the Worker', () => {
  it('sees and writes nothing of it', async () => {
    const { app_url } = await databaseOf(AT)
    expect(await refusalOf(app_url, sql`select * from freehold.risk_attempts`)).toContain('permission denied')
  })
})
