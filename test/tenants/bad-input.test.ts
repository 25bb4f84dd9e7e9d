import { exports } from 'cloudflare:workers'
import { beforeAll, describe, expect, it } from 'vitest'
import { call, newRuc, operatorToken, wanted } from '../support/people.ts'
import { plantTenant } from '../support/planted.ts'
import { copyTenant } from '../support/tenants.ts'

let token: string
let taken: any

beforeAll(async () => {
  token = await operatorToken()
  taken = await copyTenant('wrong-taken')
  await plantTenant('wrong-half-made')
})

let n = 0
const post = (more: Record<string, unknown>) => call('', '/platform/v1/tenants', { token, body: wanted(`wrong-${n++}`, more) })
const raw = (text: string, headers: Record<string, string> = {}) =>
  call('', '/platform/v1/tenants', { token, raw: text, headers })

const wrongDigit = () => {
  const right = newRuc()
  return `${right.slice(0, 10)}${(Number(right[10]) + 1) % 10}`
}

describe('a creation is refused', () => {
  it.each<[string, Record<string, unknown>, string]>([
    ['whose subdomain is missing', { subdomain: undefined }, '#/subdomain'],
    ['whose subdomain is empty', { subdomain: '' }, '#/subdomain'],
    ['whose subdomain is a number', { subdomain: 42 }, '#/subdomain'],
    ['whose subdomain is null', { subdomain: null }, '#/subdomain'],
    ['whose subdomain begins with a hyphen', { subdomain: '-acme' }, '#/subdomain'],
    ['whose subdomain ends with a hyphen', { subdomain: 'acme-' }, '#/subdomain'],
    ['whose subdomain is a hyphen', { subdomain: '-' }, '#/subdomain'],
    ['whose subdomain has an underscore', { subdomain: 'ac_me' }, '#/subdomain'],
    ['whose subdomain has a dot', { subdomain: 'ac.me' }, '#/subdomain'],
    ['whose subdomain has a space', { subdomain: 'ac me' }, '#/subdomain'],
    ['whose subdomain ends with a line', { subdomain: 'acme\n' }, '#/subdomain'],
    ['whose subdomain has 64 characters', { subdomain: 'a'.repeat(64) }, '#/subdomain'],
    ['whose subdomain has an umlaut', { subdomain: 'äcme' }, '#/subdomain'],
    ['whose subdomain has a Cyrillic letter', { subdomain: 'аcme' }, '#/subdomain'],
    ['whose subdomain has full-width letters', { subdomain: 'ａｃｍｅ' }, '#/subdomain'],
    ['whose subdomain is in upper case', { subdomain: 'Acme' }, '#/subdomain'],
    ['whose subdomain is reserved', { subdomain: 'www' }, '#/subdomain'],
    ['whose subdomain is reserved for us', { subdomain: 'platform' }, '#/subdomain'],
    ...'mta-sts autodiscover wpad oauth sso security postmaster localhost ns1 ns12 xn--pple-43d xn--a ab--c'
      .split(' ')
      .map((subdomain): [string, Record<string, unknown>, string] => [
        `whose subdomain is ${subdomain}`,
        { subdomain },
        '#/subdomain',
      ]),
    ['whose legal name is missing', { legal_name: undefined }, '#/legal_name'],
    ['whose legal name is blank', { legal_name: ' \u2003 ' }, '#/legal_name'],
    ['whose legal name has 256 characters', { legal_name: 'x'.repeat(256) }, '#/legal_name'],
    ['whose legal name has a line break', { legal_name: 'a\nb' }, '#/legal_name'],
    ['whose legal name has a NUL', { legal_name: 'a\0b' }, '#/legal_name'],
    ['whose legal name has a C1 control', { legal_name: 'a\u0085b' }, '#/legal_name'],
    ['whose legal name is an object', { legal_name: {} }, '#/legal_name'],
    ['whose contact name has 256 characters', { contact_name: 'x'.repeat(256) }, '#/contact_name'],
    ['whose contact name has a tab', { contact_name: 'a\tb' }, '#/contact_name'],
    ['whose tax id is null', { tax_id: null }, '#/tax_id'],
    ['whose tax id has a wrong check digit', { tax_id: wrongDigit() }, '#/tax_id'],
    ['whose tax id is too short', { tax_id: '2010007097' }, '#/tax_id'],
    ['whose tax id is too long', { tax_id: '201000709700' }, '#/tax_id'],
    ['whose tax id has letters', { tax_id: '2010007097A' }, '#/tax_id'],
    ['whose tax id is a number', { tax_id: 20100070970 }, '#/tax_id'],
    ['whose tax id has a space', { tax_id: '20 100070970', country: 'ES' }, '#/tax_id'],
    ['whose tax id elsewhere has 33 characters', { tax_id: 'x'.repeat(33), country: 'ES' }, '#/tax_id'],
    ['whose tax id elsewhere is empty', { tax_id: '', country: 'ES' }, '#/tax_id'],
    ['whose country is in lower case', { country: 'pe' }, '#/country'],
    ['whose country has three letters', { country: 'PER' }, '#/country'],
    ['whose country is empty', { country: '' }, '#/country'],
    ['whose e-mail is missing', { admin_email: undefined }, '#/admin_email'],
    ['whose e-mail is none', { admin_email: 'bo at acme' }, '#/admin_email'],
    ['whose e-mail has no domain', { admin_email: 'bo@' }, '#/admin_email'],
    ['whose e-mail is two', { admin_email: 'bo@acme.test,cy@acme.test' }, '#/admin_email'],
    ['whose e-mail has 256 characters', { admin_email: `${'x'.repeat(246)}@acme.test` }, '#/admin_email'],
    ['whose isolation is unknown', { isolation: 'galaxy' }, '#/isolation'],
    ['whose isolation is a word of JavaScript', { isolation: 'constructor' }, '#/isolation'],
    ['whose preset is unknown', { role_preset: 'feudal' }, '#/role_preset'],
    ['whose environment is unknown', { environment: 'staging' }, '#/environment'],
    ['whose plan is a sentence', { plan: 'the big one' }, '#/plan'],
    ['whose password is empty', { admin_password: '' }, '#/admin_password'],
    ['whose password is endless', { admin_password: `Aa1!${'x'.repeat(1021)}` }, '#/admin_password'],
    ['that has a field nobody knows', { admin: true }, '#/admin'],
    ['that sets what is not its to set', { status: 'active' }, '#/status'],
    ['that names a database of its own', { database_name: 'postgres' }, '#/database_name'],
    ['whose field has a slash in its name', { 'a/b~c': 1 }, '#/a~1b~0c'],
  ])('%s', async (_, more, pointer) => {
    const answer = await post(more)
    expect([answer.status, answer.body.code], JSON.stringify(answer.body)).toEqual([400, 'invalid_request'])
    expect(answer.body.errors.map((e: any) => e.pointer)).toContain(pointer)
    for (const fault of answer.body.errors) expect(fault.detail).toEqual(expect.any(String))
  })

  it('with every rule of the preset that the password breaks', async () => {
    const answer = await post({ role_preset: 'lims', admin_password: 'bo' })
    expect([answer.status, answer.body.code]).toEqual([400, 'invalid_request'])
    expect(new Set(answer.body.errors.map((e: any) => e.pointer))).toEqual(new Set(['#/admin_password']))
    expect(answer.body.errors.map((e: any) => e.detail)).toEqual([
      'must have at least 8 characters',
      'must have an upper case letter',
      'must have a digit',
      'must have a character that is neither letter nor digit',
      'must have at least 5 different characters',
    ])
    expect(JSON.stringify(answer.body)).not.toContain('"bo"')
  })

  it('with every place that is wrong at once', async () => {
    const answer = await post({ country: 'pe', admin_email: 'no', extra: 1, plan: '' })
    expect(answer.body.errors.map((e: any) => e.pointer).sort()).toEqual(['#/admin_email', '#/country', '#/extra', '#/plan'])
  })

  it.each([
    ['a subdomain that is taken', () => ({ subdomain: 'wrong-taken' }), 'subdomain_taken'],
    ['a subdomain that is being made', () => ({ subdomain: 'wrong-half-made' }), 'subdomain_taken'],
    ['a tax id that is taken', () => ({ tax_id: taken.tax_id }), 'tax_id_taken'],
  ])('with %s: 409', async (_, more, code) => {
    const answer = await post(more())
    expect([answer.status, answer.body.code]).toEqual([409, code])
  })

  it('but the same tax id of another country is another', async () => {
    expect((await post({ tax_id: taken.tax_id, country: 'EC' })).status).toBe(202)
  })

  it.each([
    ['nothing', ''],
    ['half of it', '{"subdomain": "acme"'],
    ['words', 'subdomain=acme'],
    ['an array', '[]'],
    ['null', 'null'],
    ['a string', '"acme"'],
    ['a number', '7'],
  ])('whose body is %s', async (_, text) => {
    const answer = await raw(text)
    expect([answer.status, answer.body.code], JSON.stringify(answer.body)).toEqual([400, 'invalid_request'])
    expect(answer.body.errors[0].pointer).toBe('#')
  })

  it.each(['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', 'application/xml', 'text/json'])(
    'as %s: 415',
    async (type) => {
      const answer = await raw(JSON.stringify(wanted('wrong-type')), { 'Content-Type': type })
      expect([answer.status, answer.body.code]).toEqual([415, 'unsupported_media_type'])
    },
  )

  it('over 1 MiB: 413, whether its length is declared or not', async () => {
    const text = JSON.stringify({ ...wanted('wrong-long'), legal_name: 'x'.repeat(1024 * 1024) })
    const declared = await raw(text)
    expect([declared.status, declared.body.code]).toEqual([413, 'body_too_large'])
    const body = new ReadableStream({
      start(controller) {
        controller.enqueue(new TextEncoder().encode(text))
        controller.close()
      },
    })
    const headers = { 'Content-Type': 'application/json', Authorization: `Bearer ${token}` }
    const streamed = await exports.default.fetch(
      new Request('http://freehold.test/platform/v1/tenants', { method: 'POST', headers, body }),
    )
    expect([streamed.status, ((await streamed.json()) as any).code]).toEqual([413, 'body_too_large'])
  })
})
