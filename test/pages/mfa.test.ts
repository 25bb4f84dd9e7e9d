/** The second factor on pages, in workerd and without script: set up, logged in with, switched off. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { protectedPerson, wrongCode } from '../factors/cast.ts'
import { addPerson, type Inside, inside } from '../support/inside.ts'
import { copyTenant } from '../support/tenants.ts'
import { codeOf, earlyInStep } from '../support/totp.ts'
import { hiddenIn, newVisitor, tagIn, textOf } from '../support/visitors.ts'

const AT = 'pages-mfa'
let realm: Inside

beforeAll(async () => {
  await copyTenant(AT)
  realm = await inside(AT)
})

/** A visitor who has sent the right password. */
async function atSecondStep({ email, password }: { email: string; password: string }) {
  const visitor = newVisitor(AT)
  const { html } = await visitor.ask('/login')
  const step = await visitor.ask('/login', { form: { ...hiddenIn(html, '/login'), username: email, password } })
  return { visitor, step }
}

describe('a login on the page', () => {
  it('asks for the code in a second form, and lets in whoever has it, in two round trips and one', async () => {
    const who = await protectedPerson(realm, 'ann')
    const { visitor, step } = await atSecondStep(who)
    expect([step.status, step.trips]).toEqual([200, 2])
    expect(textOf(step.html)).toContain('Enter your code')
    expect(tagIn(step.html, 'input', { name: 'code' })).toMatchObject({ autocomplete: 'one-time-code' })
    expect([...visitor.kept.keys()].filter((name) => /fh_[ar]_/.test(name))).toEqual([])
    const form = { ...hiddenIn(step.html, '/login/code'), code: codeOf(who.secret) }
    const done = await visitor.ask('/login/code', { form })
    expect([done.status, done.location, done.trips]).toEqual([303, '/account', 1])
    expect((await visitor.ask('/account')).status).toBe(200)
  })

  it('remembers the device where the box is ticked, with the words of the days, and asks for no code there then', async () => {
    const who = await protectedPerson(realm, 'abe')
    const { visitor, step } = await atSecondStep(who)
    expect(textOf(step.html)).toContain('Do not ask on this device for 30 days')
    expect(tagIn(step.html, 'input', { name: 'remember_device' })).toMatchObject({ type: 'checkbox', value: 'yes' })
    const hidden = hiddenIn(step.html, '/login/code')
    const wrong = await visitor.ask('/login/code', {
      form: { ...hidden, code: wrongCode(who.secret), remember_device: 'yes' },
      headers: { 'Accept-Language': 'es' },
    })
    expect(textOf(wrong.html)).toContain('No preguntar en este dispositivo durante 30 días')
    const form = { ...hiddenIn(wrong.html, '/login/code'), code: codeOf(who.secret), remember_device: 'yes' }
    expect((await visitor.ask('/login/code', { form })).location).toBe('/account')
    const account = await visitor.ask('/account')
    expect(textOf(account.html)).toContain('No code needed')
    await visitor.ask('/account/logout', { form: hiddenIn(account.html, '/account/logout') })
    await visitor.logIn(who.email, who.password)
    expect((await visitor.ask('/account')).status).toBe(200)
    await realm.asOwner(sql`update freehold.tenant set mfa_remember_days = 0`)
    const other = await atSecondStep(await protectedPerson(realm, 'abi'))
    expect(tagIn(other.step.html, 'input', { name: 'remember_device' })).toBeNull()
    await realm.asOwner(sql`update freehold.tenant set mfa_remember_days = 30`)
  })

  it('says of a wrong code that it is wrong, at its field, and takes a backup code', async () => {
    const who = await protectedPerson(realm, 'bea')
    const { visitor, step } = await atSecondStep(who)
    const wrong = await visitor.ask('/login/code', {
      form: { ...hiddenIn(step.html, '/login/code'), code: wrongCode(who.secret) },
    })
    expect(wrong.status).toBe(401)
    expect(textOf(wrong.html)).toContain('The code is wrong, was used, or came too late.')
    const form = { ...hiddenIn(wrong.html, '/login/code'), code: who.backup_codes[0] ?? '' }
    expect((await visitor.ask('/login/code', { form })).location).toBe('/account')
  })

  it('takes no code from another browser’s form', async () => {
    const who = await protectedPerson(realm, 'cal')
    const { step } = await atSecondStep(who)
    const form = { ...hiddenIn(step.html, '/login/code'), code: codeOf(who.secret) }
    expect((await newVisitor(AT).ask('/login/code', { form })).status).toBe(403)
  })
})

describe('the page of the second factor', () => {
  it('sets an app up, shows the backup codes once, and switches it off again', async () => {
    const who = await addPerson(realm, 'dov')
    const visitor = newVisitor(AT)
    await visitor.logIn(who.email, who.password)
    const before = await visitor.ask('/account/mfa')
    expect([before.status, before.trips]).toEqual([200, 1])
    const scan = await visitor.ask('/account/mfa/setup', { form: hiddenIn(before.html, '/account/mfa/setup') })
    const secret = (/<code>([A-Z2-7 ]{39})<\/code>/.exec(scan.html)?.[1] ?? '').replaceAll(' ', '')
    expect(secret).toMatch(/^[A-Z2-7]{32}$/)
    expect(scan.html).toMatch(/<svg [^>]*viewBox/)
    await earlyInStep()
    const enable = hiddenIn(scan.html, '/account/mfa/enable')
    const wrong = await visitor.ask('/account/mfa/enable', { form: { ...enable, code: wrongCode(secret) } })
    expect(wrong.status).toBe(401)
    const on = await visitor.ask('/account/mfa/enable', { form: { ...enable, code: codeOf(secret, -1) } })
    const codes = on.html.match(/([0-9A-Z]{4}-){2}[0-9A-Z]{4}/g) ?? []
    expect(new Set(codes).size).toBe(10)
    const after = await visitor.ask('/account/mfa')
    for (const code of codes) expect(after.html).not.toContain(code)
    const proof = { ...hiddenIn(after.html, '/account/mfa/disable'), password: who.password }
    const renewed = await visitor.ask('/account/mfa/codes', { form: { ...proof, code: codes[0] ?? '' } })
    expect(textOf(renewed.html)).toContain('Your backup codes')
    const refused = await visitor.ask('/account/mfa/disable', { form: { ...proof, code: codes[1] ?? '' } })
    expect(refused.status).toBe(401)
    const off = await visitor.ask('/account/mfa/disable', { form: { ...proof, code: codeOf(secret) } })
    expect([off.status, off.location]).toEqual([303, '/account?said=mfa_off'])
    expect(textOf((await visitor.ask('/account?said=mfa_off')).html)).toContain('A login needs your password alone now.')
  })

  it('is where somebody is led who must have one, whatever they ask for; from there they can log out', async () => {
    await copyTenant('pages-mfa-needed')
    const needed = await inside('pages-mfa-needed')
    const who = await addPerson(needed, 'eva')
    const visitor = newVisitor('pages-mfa-needed')
    await visitor.logIn(who.email, who.password)
    await needed.asOwner(sql`update freehold.tenant set mfa_required = true, mfa_grace_days = 0`)
    for (const path of ['/account', '/account/api-keys']) {
      const away = await visitor.ask(path)
      expect([path, away.status, away.location]).toEqual([path, 303, '/account/mfa'])
    }
    const shown = await visitor.ask('/account/mfa')
    expect(shown.status).toBe(200)
    await earlyInStep()
    const scan = await visitor.ask('/account/mfa/setup', { form: hiddenIn(shown.html, '/account/mfa/setup') })
    const secret = (/<code>([A-Z2-7 ]{39})<\/code>/.exec(scan.html)?.[1] ?? '').replaceAll(' ', '')
    const form = { ...hiddenIn(scan.html, '/account/mfa/enable'), code: codeOf(secret) }
    expect((await visitor.ask('/account/mfa/enable', { form })).status).toBe(200)
    expect((await visitor.ask('/account')).status).toBe(200)
  })

  it('offers a passkey in place of the code to whoever has one', async () => {
    const who = await addPerson(realm, 'flo')
    await realm.asOwner(
      sql`insert into freehold.passkeys (id, user_id, credential_id, public_key, counter, rp_id, name, aaguid, is_synced)
          values (gen_random_uuid(), ${who.id}, '\\x01', '\\x01', 0, 'pages-mfa.freehold.test', 'Phone', gen_random_uuid(), false)`,
      sql`update freehold.tenant set mfa_required = true`,
    )
    const { step } = await atSecondStep(who)
    expect(step.status).toBe(200)
    expect(tagIn(step.html, 'form', { action: '/login/passkey' })).toMatchObject({ 'data-passkey': 'get' })
    expect(step.html).not.toContain('one-time-code')
    await realm.asOwner(sql`update freehold.tenant set mfa_required = false`)
  })
})
