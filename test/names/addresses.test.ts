/** Threat: an address at which somebody gets mail and which some field refuses, and one that no mail server takes. */
import { beforeAll, describe, expect, it } from 'vitest'
import { Domain, Email } from '../../src/names/addresses.ts'
import { ADMIN, call, operatorToken, wanted } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

const VALID = [
  'ivan@xn--80a1acny.xn--p1ai',
  'a&b@example.test',
  'sales/peru@example.test',
  "!#$%&'*+-/=?^_`{|}~@example.test",
  'a.b.c@example.test',
  '1@1.2.test',
  'x@a-b.test',
  'x@a--b.test',
  'x@example.t9',
  `${'x'.repeat(64)}@${'y'.repeat(63)}.test`,
]
const INVALID = [
  'x@a-.test',
  'x@-a.test',
  'x@a.test-',
  'x@xn--.test',
  'x@a_b.test',
  'x@a..test',
  'x@.test',
  'x@test',
  'x@test.',
  'x@127.0.0.1',
  'x@[127.0.0.1]',
  '@a.test',
  '.x@a.test',
  'x.@a.test',
  'x..y@a.test',
  '"x y"@a.test',
  'x y@a.test',
  'x,y@a.test',
  'x<y>@a.test',
  'a@b@a.test',
  'x@a.test\r\nBcc: y@a.test',
  `${'x'.repeat(65)}@a.test`,
  `x@${'y'.repeat(64)}.test`,
]
const PUNYCODE = 'must have its domain in ASCII: send the punycode form (xn--...)'
const messages = (text: string) => Email.safeParse(text).error?.issues.map(({ message }) => message)

describe('an address', () => {
  it.each(VALID)('%s is taken as it is', (address) => {
    expect(Email.parse(address)).toBe(address)
  })

  it.each(INVALID)('%s is refused', (address) => {
    expect(messages(address)).toEqual(['must be an e-mail address'])
  })

  it.each(['ivan@почта.рф', 'x@bücher.test'])('%s is refused with what to send instead', (address) => {
    expect(messages(address)).toEqual([PUNYCODE])
  })

  it('with other letters before the @ is refused with a sentence of its own', () => {
    expect(messages('иван@example.test')).toEqual(['must have only ASCII characters before the @'])
  })

  it('is stored in lower case, without blanks around it, and in ASCII where it was typed in wide characters', () => {
    expect(Email.parse('  Ｉvan@XN--80A1ACNY.xn--P1AI ')).toBe('ivan@xn--80a1acny.xn--p1ai')
  })
})

describe('a domain', () => {
  it.each(VALID)('of %s is taken by itself', (address) => {
    const domain = address.slice(address.lastIndexOf('@') + 1)
    expect(Domain.parse(domain)).toBe(domain)
  })

  it.each(['a-.test', '-a.test', 'a_b.test', 'test', '127.0.0.1', '', `${'a.'.repeat(126)}toolong`])('%s is none', (domain) => {
    expect(Domain.safeParse(domain).success).toBe(false)
  })
})

describe('every field that takes an address', () => {
  const AT = 'addressed'
  let token: string
  let operator: string
  beforeAll(async () => {
    await copyTenant(AT)
    token = await tokenOf(AT)
    operator = await operatorToken()
    const registration = { registration: true, registration_domains: ['xn--80a1acny.xn--p1ai', 'example.test'] }
    expect((await call(AT, '/api/v1/settings', { token, method: 'PATCH', body: registration })).status).toBe(200)
  })

  const FIELDS: [string, (address: string) => Promise<{ status: number }>, number][] = [
    ['the e-mail of a user', (email) => call(AT, '/api/v1/users', { token, body: { email } }), 201],
    ['a registration', (email) => call(AT, '/api/v1/auth/register', { body: { email, password: 'Quiet-Harbour-77' } }), 202],
    ['a forgotten password', (email) => call(AT, '/api/v1/auth/password-reset', { body: { email } }), 202],
    ['another verification', (email) => call(AT, '/api/v1/auth/verify-email/resend', { body: { email } }), 202],
    [
      'an address that replaces another',
      (new_email) => call(AT, '/api/v1/auth/email-change', { token, body: { new_email, current_password: ADMIN.password } }),
      202,
    ],
  ]

  it.each(FIELDS)('takes punycode and atoms, and refuses what is no domain: %s', async (_, send, status) => {
    for (const [i, address] of ['ivan@xn--80a1acny.xn--p1ai', 'a&b@example.test', 'sales/peru@example.test'].entries())
      expect((await send(address)).status, `${i}`).toBe(status)
    for (const address of ['x@a-.test', 'x@почта.рф']) expectProblem((await send(address)) as never, 400, 'invalid_request')
  })

  it('the administrator of a tenant has one, too', async () => {
    const body = { ...wanted('addressed-too'), admin_email: 'x@a-.test' }
    const answer = await call('', '/platform/v1/tenants', { token: operator, body })
    expectProblem(answer, 400, 'invalid_request')
    expect(JSON.stringify(answer.body.errors)).toContain('#/admin_email')
  })
})
