/** Threat: a key that nobody knows of, or that lives for ever because nobody said how long. */
import { sql } from 'drizzle-orm'
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { Member } from '../roles/cast.ts'
import { mailsTo } from '../support/mails.ts'
import { call } from '../support/people.ts'
import { pointers } from '../support/refusal.ts'
import { sentTo } from '../support/secrets.ts'
import { plantSession } from '../support/sessions.ts'
import { type KeyCast, keyCast } from './cast.ts'

const AT = 'keys-made'
const DAY = 86_400_000
let here: KeyCast
beforeAll(async () => {
  here = await keyCast(AT)
})

const set = async (body: object) => expect((await here.ask('/settings', { method: 'PATCH', body })).status).toBe(200)
const lifeOf = (key: { created_at: string; expires_at: string | null }) =>
  key.expires_at === null ? null : (Date.parse(key.expires_at) - Date.parse(key.created_at)) / DAY
const make = (more: object = {}, token = here.bo.token, headers = {}) =>
  here.ask('/api-keys', { token, headers, body: { name: 'robot', permissions: ['unit:read'], ...more } })

describe('a key of which nobody says when it expires', () => {
  afterEach(() => set({ api_key_days: 365 }))

  it('lives a year, in one round trip, and the answer says until when', async () => {
    const { body, trips } = await make()
    expect([lifeOf(body), trips]).toEqual([365, 1])
    expect((await here.ask(`/api-keys/${body.id}`)).body.expires_at).toBe(body.expires_at)
  })

  it('lives as long as the tenant says, also for ever', async () => {
    for (const [api_key_days, life] of [
      [1, 1],
      [3650, 3650],
      [0, null],
    ] as const) {
      await set({ api_key_days })
      expect(lifeOf((await make()).body)).toBe(life)
    }
  })

  it('is another than one of which somebody does: a moment, or never', async () => {
    const expires_at = new Date(Date.now() + 5000 * DAY).toISOString()
    expect(Date.parse((await make({ expires_at })).body.expires_at)).toBe(Date.parse(expires_at))
    expect((await make({ expires_at: null })).body.expires_at).toBeNull()
    expect(pointers(await make({ expires_at: '2020-01-01T00:00:00Z' }))).toEqual(['#/expires_at'])
  })

  it('is rotated to one with the same life, and changed to another', async () => {
    const { id } = (await make()).body
    const next = (await here.ask(`/api-keys/${id}/rotate`, { body: {} })).body
    expect(lifeOf(next)).toBe(365)
    expect((await here.ask(`/api-keys/${next.id}`, { method: 'PATCH', body: { expires_at: null } })).body.expires_at).toBeNull()
  })

  it('is the same on the platform', async () => {
    const { access_token: token } = await plantSession('', 'ada')
    const { body } = await call('', '/platform/v1/api-keys', { token, body: { name: 'x', permissions: ['tenant:read'] } })
    expect(lifeOf(body)).toBe(365)
  })
})

describe('the owner of a key', () => {
  let owner: Member
  const member = async (username: string) => here.member(username, { can: { 'unit:read': 'own' } })
  beforeAll(async () => {
    owner = await member('olga')
  })

  it('is mailed when it is made, in their language, with its name and nothing that opens anything', async () => {
    await here.realm.asOwner(sql`update freehold.users set locale = 'es' where id = ${owner.id}`)
    const { body } = await make({ name: 'nightly' }, owner.token)
    const [mail] = await mailsTo(owner.email)
    expect(mail?.subject).toContain('una nueva clave de API')
    expect(mail?.text).toContain('nightly')
    expect(mail?.text).toContain(`fh_${body.prefix}`)
    const [row] = await here.realm.asOwner(
      sql`select to_jsonb(m)::text as kept from freehold.mails m where recipient = ${owner.email}`,
    )
    for (const text of [row?.kept, mail?.text, mail?.html]) expect(text).not.toContain(body.key.slice(12))
  })

  it('is mailed of one that replaces another', async () => {
    const who = await member('pia')
    const { id } = (await make({}, who.token)).body
    expect((await here.ask(`/api-keys/${id}/rotate`, { token: who.token, body: {} })).status).toBe(201)
    // Not by the mailbox, where somebody of that address in another tenant has mails, too.
    expect(await sentTo(here.realm, who.email)).toEqual(['api_key_created', 'api_key_created'])
  })

  it('is mailed whoever makes it, and by the database', async () => {
    const who = await member('quo')
    await here.realm.asOwner(sql`insert into freehold.api_keys (id, user_id, name, prefix, key_hash, permissions)
      values (gen_random_uuid(), ${who.id}, 'planted', 'Planted1', sha256('x'), '{unit:read}')`)
    expect(await sentTo(here.realm, who.email)).toEqual(['api_key_created'])
  })

  it('is mailed nothing when none is made', async () => {
    const who = await member('rex')
    expect((await make({ permissions: ['user:delete'] }, who.token)).status).toBe(403)
    expect(await sentTo(here.realm, who.email)).toEqual([])
  })

  it('is mailed once of a request that is repeated', async () => {
    const who = await member('sue')
    const headers = { 'Idempotency-Key': crypto.randomUUID() }
    const answers = [await make({}, who.token, headers), await make({}, who.token, headers)]
    expect(answers.map(({ status }) => status)).toEqual([201, 201])
    expect(await sentTo(here.realm, who.email)).toEqual(['api_key_created'])
  })

  it('is mailed no more than the limits allow, though keys are made; and of the first whatever was sent before', async () => {
    const who = await member('tom')
    await here.realm.asOwner(
      ...Array.from(
        { length: 5 },
        () =>
          sql`select access.enqueue_mail('password_reset_link', ${who.id}, ${who.email}, '{"expires_at": "2026-01-01T00:00:00Z"}')`,
      ),
    )
    const answers = await Promise.all(Array.from({ length: 12 }, () => make({}, who.token)))
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([201]))
    const kinds = await sentTo(here.realm, who.email)
    expect(kinds.filter((kind) => kind === 'api_key_created')).toHaveLength(1)
  })
})
