/** Threat: a program that reads what is for people: what changes with the language is words, never a code, a place, a header or a cost. */
import { exports } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Cast, cast } from '../roles/cast.ts'
import { type Answer, call, newRuc, operatorToken, wanted } from '../support/people.ts'
import { expectProblem, pointers } from '../support/refusal.ts'

const AT = 'idioma'
const PERU = 'es-PE,es;q=0.9,en;q=0.5'
let here: Cast
let ana: { id: string; token: string }

beforeAll(async () => {
  here = await cast(AT)
  ana = await here.member('ana')
})

type Ask = Parameters<typeof call>[2]
type Told = { title?: string; detail?: string; errors?: Record<string, string> }

const inLanguage = (language: string | undefined, at: string, path: string, ask: Ask = {}) =>
  call(at, path, { ...ask, headers: { ...ask.headers, ...(language !== undefined && { 'Accept-Language': language }) } })

const told = ({ body }: Answer): Told => ({
  title: body.title,
  detail: body.detail,
  errors: Object.fromEntries(
    (body.errors ?? []).map((fault: { pointer: string; detail: string }) => [fault.pointer, fault.detail]),
  ),
})

/** Asks the same in both languages; all but words is alike. Gives the Spanish answer. */
async function inBoth(status: number, code: string, at: string, path: string, ask: Ask = {}): Promise<Answer> {
  const english = await inLanguage(undefined, at, path, ask)
  const spanish = await inLanguage(PERU, at, path, ask)
  for (const answer of [english, spanish]) expectProblem(answer, status, code)
  expect(spanish.body.type).toBe(english.body.type)
  expect(pointers(spanish)).toEqual(pointers(english))
  expect(spanish.trips).toBe(english.trips)
  for (const name of ['WWW-Authenticate', 'Allow', 'Retry-After', 'Vary', 'Cache-Control'])
    expect(spanish.headers.get(name), name).toBe(english.headers.get(name))
  expect(spanish.headers.get('Vary')?.split(/, */).sort()).toEqual(['Accept-Language', 'Origin', 'X-Tenant'])
  expect([english.headers.get('Content-Language'), spanish.headers.get('Content-Language')]).toEqual(['en', 'es'])
  const [one, other] = [told(english), told(spanish)]
  expect(other.title).not.toBe(one.title)
  expect(other.detail).not.toBe(one.detail)
  for (const [pointer, detail] of Object.entries(one.errors ?? {})) expect(other.errors?.[pointer], pointer).not.toBe(detail)
  return spanish
}

const bo = (more: Ask = {}): Ask => ({ token: here.bo.token, ...more })

describe('in Spanish as in English', () => {
  it('401: who has no token, and whose challenge stays English', async () => {
    const none = await inBoth(401, 'token_missing', AT, '/api/v1/auth/me')
    expect(told(none)).toMatchObject({
      title: 'Se necesita un token',
      detail: 'Envía Authorization: Bearer con un token de acceso.',
    })
    const wrong = await inBoth(401, 'token_invalid', AT, '/api/v1/auth/me', { headers: { Authorization: 'Basic Ym86Ym8=' } })
    expect(told(wrong).detail).toBe('Solo se entienden tokens Bearer.')
    expect(wrong.headers.get('WWW-Authenticate')).toContain('error_description="The token is not valid"')
  })

  it('401: credentials that are wrong', async () => {
    const body = { username: 'nobody', password: 'wrong' }
    expect(told(await inBoth(401, 'invalid_credentials', AT, '/api/v1/auth/login', { body })).detail).toMatch(/^Comprueba /)
  })

  it('400: every field that is wrong, in our words', async () => {
    const body = {
      email: 7,
      username: '-x',
      role: '',
      locale: '??',
      unit_id: 'x',
      joined_at: 7,
      max_sessions: 0,
      surprise: 1,
    }
    const answer = await inBoth(400, 'invalid_request', AT, '/api/v1/users', bo({ body }))
    expect(told(answer)).toEqual({
      title: 'La solicitud no es válida',
      detail: 'Corrige los campos que indica `errors`.',
      errors: {
        '#/email': 'debe ser texto',
        '#/username': 'debe empezar por una letra o un dígito y tener solo letras, dígitos, ".", "_" y "-"',
        '#/role': 'no debe estar vacío',
        '#/locale': 'debe ser una etiqueta de idioma (BCP 47)',
        '#/unit_id': 'debe ser un UUID',
        '#/joined_at': 'debe ser un momento como en RFC 3339',
        '#/max_sessions': 'debe ser como mínimo 1',
        '#/surprise': 'no es un campo de esta solicitud',
      },
    })
  })

  it('400: what is missing, what a list holds, what a query says, what is no JSON', async () => {
    const body = { name: 'x', permissions: [{ permission: 'user:read', scope: 'some' }, 7] }
    expect(told(await inBoth(400, 'invalid_request', AT, '/api/v1/roles', bo({ body }))).errors).toEqual({
      '#/permissions/0/scope': 'debe ser uno de all, department, team, own',
      '#/permissions/1': 'debe ser un objeto',
    })
    expect(told(await inBoth(400, 'invalid_request', AT, '/api/v1/roles', bo({ body: {} }))).errors?.['#/name']).toBe('falta')
    const query = await inBoth(400, 'invalid_request', AT, '/api/v1/users?limit=many', bo())
    expect(told(query).errors).toEqual({ '#/query/limit': 'debe ser un número entero en cifras' })
    const broken = await inBoth(400, 'invalid_request', AT, '/api/v1/auth/login', { raw: '{' })
    expect(told(broken).errors).toEqual({ '#': 'no es JSON válido' })
  })

  it('400: every rule that a password breaks', async () => {
    const rules = { password_upper: true, password_digit: true, password_special: true, password_unique: 5 }
    expect((await call(AT, '/api/v1/settings', bo({ method: 'PATCH', body: rules }))).status).toBe(200)
    const body = { email: 'eva@people.test', password: 'eva' }
    const answer = await inLanguage(PERU, AT, '/api/v1/users', bo({ body }))
    expectProblem(answer, 400, 'invalid_request')
    expect(answer.body.errors.map((fault: { detail: string }) => fault.detail)).toEqual([
      'debe tener al menos 12 caracteres',
      'debe tener una letra mayúscula',
      'debe tener un dígito',
      'debe tener un carácter que no sea letra ni dígito',
      'debe tener al menos 5 caracteres diferentes',
      'no debe contener una parte del nombre ni del correo',
    ])
  })

  it('403: what admission refuses, and what the database says about it', async () => {
    const none = await inBoth(403, 'forbidden', AT, '/api/v1/settings', { token: ana.token })
    expect(told(none)).toMatchObject({ title: 'No está permitido', detail: 'Pide el permiso a un administrador.' })
    const body = { role_id: await here.role('spare') }
    const own = await inBoth(403, 'forbidden', AT, `/api/v1/users/${here.bo.id}/roles`, bo({ body }))
    expect(told(own).detail).toBe('No puedes asignarte un rol a ti mismo.')
  })

  it('404: an address, a thing, a tenant by its name', async () => {
    await inBoth(404, 'not_found', AT, '/api/v1/nowhere')
    await inBoth(404, 'not_found', AT, `/api/v1/users/${crypto.randomUUID()}`, bo())
    const nobody = await inBoth(404, 'tenant_not_found', 'nadie-aqui', '/api/v1/auth/me')
    expect(told(nobody)).toMatchObject({ title: 'No existe ese inquilino', detail: 'No existe el inquilino nadie-aqui.' })
  })

  it('405: a method, with those that there are', async () => {
    const answer = await inBoth(405, 'method_not_allowed', AT, '/api/v1/auth/login', { method: 'GET' })
    expect([answer.headers.get('Allow'), told(answer).detail]).toEqual(['POST', 'Mira la cabecera Allow.'])
  })

  it('409: what the database refuses keeps the names that are in it, also those that look like a sentence', async () => {
    const name = 'lead of is; $& {role} or'
    const id = await here.role(name)
    await here.role('under it', {}, { parent_id: id })
    expect((await here.ask(`/users/${ana.id}/roles`, { body: { role_id: id } })).status).toBeLessThan(300)
    const used = await inBoth(409, 'in_use', AT, `/api/v1/roles/${id}`, bo({ method: 'DELETE' }))
    expect(told(used).detail).toBe(`El rol ${name} está asignado a ana; heredado por under it.`)
    const system = await inBoth(409, 'in_use', AT, `/api/v1/roles/${await here.roleId('user')}`, bo({ method: 'DELETE' }))
    expect(told(system).detail).toBe('El rol user es del sistema.')
  })

  it('409: what is taken, at a tenant and on the platform', async () => {
    const mail = await inBoth(
      409,
      'already_exists',
      AT,
      '/api/v1/users',
      bo({ body: { email: 'ana@people.test', username: 'other' } }),
    )
    expect(told(mail)).toMatchObject({ detail: 'Otro usuario ya tiene este email.', errors: { '#/email': 'está ocupado' } })
    const again = { token: await operatorToken(), body: wanted(AT, { tax_id: newRuc() }) }
    const taken = await inBoth(409, 'subdomain_taken', '', '/platform/v1/tenants', again)
    expect(told(taken).detail).toBe('El subdominio idioma está ocupado.')
  })

  it('412, 413, 415: what was changed, is too large, or of another type', async () => {
    const id = await here.role('changing')
    const stale = bo({ method: 'PATCH', body: { description: 'x' }, headers: { 'If-Match': '"2020-01-01T00:00:00.000000Z"' } })
    await inBoth(412, 'etag_mismatch', AT, `/api/v1/roles/${id}`, stale)
    await inBoth(413, 'body_too_large', AT, '/api/v1/auth/login', { raw: `"${'x'.repeat(1024 * 1024)}"` })
    await inBoth(415, 'unsupported_media_type', AT, '/api/v1/auth/login', { raw: 'x', headers: { 'Content-Type': 'text/plain' } })
  })

  it('429: too many, with a sentence of its own', async () => {
    await here.realm.asOwner(sql`update freehold.users set phone = '+51 999' where id = ${ana.id}`)
    const send = { token: ana.token, method: 'POST' }
    for (let i = 0; i < 5; i++) expect((await call(AT, '/api/v1/auth/phone-verification', send)).status).toBe(202)
    const answer = await inBoth(429, 'rate_limited', AT, '/api/v1/auth/phone-verification', send)
    expect(told(answer)).toMatchObject({
      title: 'Demasiadas solicitudes',
      detail: 'Se enviaron demasiados códigos en la última hora.',
    })
  })
})

describe('Accept-Language', () => {
  it.each<[string, string | undefined, string]>([
    ['none', undefined, 'en'],
    ['empty', '', 'en'],
    ['Spanish', 'es', 'es'],
    ['Spanish in capitals', 'ES', 'es'],
    ['Spanish of a region', 'es-419', 'es'],
    ['of Peru', PERU, 'es'],
    ['of a browser in English', 'en-US,en;q=0.9,es;q=0.8', 'en'],
    ['rather English', 'es;q=0.5, en;q=0.8', 'en'],
    ['rather Spanish, said later', 'en;q=0.3, es;q=0.8', 'es'],
    ['both alike, Spanish first', 'es, en', 'es'],
    ['both alike, English first', 'en, es', 'en'],
    ['no Spanish', 'en;q=0.1, es;q=0', 'en'],
    ['no Spanish and nothing else', 'es;q=0', 'en'],
    ['no English', 'en;q=0, *', 'es'],
    ['anything', '*', 'en'],
    ['anything but Spanish', 'es;q=0, *', 'en'],
    ['anything rather than Spanish', 'es;q=0.2, *', 'en'],
    ['a language that we do not have', 'qu-PE, fr;q=0.8', 'en'],
    ['one that we do not have, then Spanish', 'qu-PE, es;q=0.2', 'es'],
    ['Spanish in blanks', ' es ; q=0.9 , en;q=0.1', 'es'],
    ['what begins like Spanish', 'est, esperanto', 'en'],
    ['garbage', ';;;,=,q=1;"es', 'en'],
    ['garbage for a quality', 'en;q=0.5, es;q=-1', 'en'],
    ['more than anybody sends', `es,${'es;q=0.9,'.repeat(5_000)}en;q=0.1`, 'en'],
  ])('%s', async (_, header, language) => {
    const answer = await inLanguage(header, AT, '/api/v1/auth/me')
    expectProblem(answer, 401, 'token_missing')
    expect(answer.headers.get('Content-Language')).toBe(language)
    expect(answer.body.title).toBe(language === 'es' ? 'Se necesita un token' : 'A token is needed')
  })

  it('changes no answer that is no problem', async () => {
    const answer = await inLanguage(PERU, AT, '/api/v1/auth/me', bo())
    expect([answer.status, answer.headers.get('Content-Language')]).toEqual([200, null])
    expect(answer.headers.get('Vary')).toBe('X-Tenant, Origin')
  })

  it('of one caller is not that of the next, also of those at the same time', async () => {
    const languages = Array.from({ length: 12 }, (_, i) => (i % 2 ? 'es' : 'en'))
    const answers = await Promise.all(
      languages.map((language) => inLanguage(language, AT, '/api/v1/users', bo({ body: { email: 7 } }))),
    )
    expect(answers.map(({ body }) => body.errors[0].detail.startsWith('debe'))).toEqual(
      languages.map((language) => language === 'es'),
    )
  })
})

it('the page of a problem has both languages', async () => {
  const response = await exports.default.fetch('http://freehold.test/problems/in_use')
  expect(await response.json()).toEqual({
    code: 'in_use',
    status: 409,
    title: 'This is in use',
    remedy: 'End its use first.',
    es: { title: 'Esto está en uso', remedy: 'Termina primero su uso.' },
  })
})
