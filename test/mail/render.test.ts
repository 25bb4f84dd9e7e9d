/** What mails say: in both languages, with nothing in them that is not meant. */
import { describe, expect, it } from 'vitest'
import { mailLanguageOf, render } from '../../src/mail/render.ts'
import { en } from '../../src/mail/templates/en.ts'
import { es } from '../../src/mail/templates/es.ts'
import { KINDS, type MailKind } from '../../src/mail/templates/template.ts'
import { contrastOf } from '../../src/settings/contrast.ts'

const kinds = Object.keys(KINDS) as MailKind[]
const placeholders = (text: string) => [...text.matchAll(/\{(\w+)\}/g)].map(([, name]) => name).sort()
const REALM = { legal_name: 'Acme S.A.C.', is_demo: false, url: 'https://acme.example.com' }
const wanted = (kind: MailKind, more: object = {}) => ({
  kind,
  channel: kind === 'phone_code' ? ('sms' as const) : ('email' as const),
  locale: 'en',
  name: 'Ada',
  timezone: 'America/Lima',
  data: {
    until: '2026-03-04T05:06:07Z',
    expires_at: '2026-03-04T05:06:07Z',
    erase_at: '2026-03-04T05:06:07Z',
    new_email: 'new@acme.test',
    accepted_by: 'cy@acme.test',
    network: '203.0.113.9',
    key_name: 'nightly',
    passkey_name: 'Laptop',
    provider: 'Acme staff',
    impersonator: 'helper',
    inviter: 'Ada Lovelace',
    competencies: 'Crane (2027-01-31)',
    person: 'Ben Okri',
    reason: 'Ticket 4711',
    organization: 'Norte E.I.R.L.',
    read_only_from: '2026-03-04T05:06:07Z',
    prefix: 'Ab3dEf9h',
  },
  secrets: { token: 'to-ken_1', code: '123456' },
  ...more,
})

describe.each([
  ['English', en],
  ['Spanish', es],
] as const)('in %s', (_, language) => {
  it('every kind of mail is there, and no other', () => {
    expect(Object.keys(language.mails).sort()).toEqual([...kinds].sort())
  })

  it.each(kinds)('%s shows the tenant in subject and body, all that it needs, and nothing that it may lack', (kind) => {
    const { subject, paragraphs, action } = language.mails[kind]
    const shown = new Set(paragraphs.flatMap(placeholders))
    expect(placeholders(subject)).toEqual(['tenant'])
    expect(shown).toContain('tenant')
    for (const needed of KINDS[kind]) expect(shown).toContain(needed)
    expect([...shown].filter((name) => ![...KINDS[kind], 'tenant', 'url'].includes(name ?? ''))).toEqual([])
    expect(Boolean(action)).toBe(paragraphs.includes('{link}'))
  })

  it('who has a name is greeted by it', () => {
    expect(placeholders(language.greeting)).toEqual(['name'])
    expect(placeholders(language.greeting_unnamed)).toEqual([])
    expect(placeholders(language.footer)).toEqual(['tenant', 'url'])
  })
})

it('both languages say the same things in each mail', () => {
  for (const kind of kinds)
    expect(es.mails[kind].paragraphs.map(placeholders), kind).toEqual(en.mails[kind].paragraphs.map(placeholders))
})

it.each<[string, string]>([
  ['es', 'es'],
  ['es-PE', 'es'],
  ['es_MX', 'es'],
  ['ES-mx', 'es'],
  ['est', 'en'],
  ['en', 'en'],
  ['fr', 'en'],
  ['', 'en'],
])('a locale %j reads %s', (locale, language) => {
  expect(mailLanguageOf(locale)[0]).toBe(language)
})

describe('a link', () => {
  it.each<[MailKind, string]>([
    ['password_reset', '/reset-password'],
    ['password_reset_by_admin', '/reset-password'],
    ['password_reset_link', '/reset-password'],
    ['register', '/verify-email'],
    ['email_verify', '/verify-email'],
    ['email_change', '/verify-email'],
  ])('of %s leads to %s of the tenant, its token in the fragment, in text and HTML', (kind, path) => {
    const { subject, text, html } = render(REALM, wanted(kind))
    const link = `https://acme.example.com${path}#token=to-ken_1`
    expect(text.split('\n')).toContain(link)
    expect(html).toContain(`href="${link}"`)
    // And by itself, for a page that does not see the fragment.
    expect(text.split('\n')).toContain('to-ken_1')
    expect(html).toContain('monospace;word-break:break-all">to-ken_1</p>')
    expect(subject).not.toContain('to-ken_1')
    expect((text + html).match(/[?&/]to-ken_1|token=to-ken_1/g)?.every((found) => found === 'token=to-ken_1')).toBe(true)
  })
})

it('a login by mail has the code on a line of its own, and the token in the link alone', () => {
  const { subject, text, html } = render(REALM, wanted('email_login'))
  expect(text.split('\n')).toEqual(expect.arrayContaining(['123456', 'https://acme.example.com/login/link#token=to-ken_1']))
  expect(html).toContain('monospace;word-break:break-all">123456</p>')
  expect(text.match(/to-ken_1/g)).toHaveLength(1)
  expect(subject).not.toContain('123456')
})

describe('the look of a tenant', () => {
  const look = {
    name: 'Acme & Ñandú',
    accent_color: '#ffd400',
    links: { reset_password: 'https://app.acme.test/new?lang=es', login: 'https://app.acme.test/in' },
  }

  it.each(kinds)('has its name in place of the legal one in %s', (kind) => {
    const { subject, text, html } = render(REALM, wanted(kind, { look }))
    for (const part of [subject, text]) expect(part).toContain('Acme & Ñandú')
    expect(html).toContain('Acme &amp; Ñandú')
    for (const part of [subject, text, html]) expect(part).not.toContain('S.A.C.')
  })

  it('leads to its own frontend where it has a link, and else to the page of its host', () => {
    const reset = render(REALM, wanted('password_reset', { look }))
    expect(reset.text.split('\n')).toContain('https://app.acme.test/new?lang=es#token=to-ken_1')
    expect(reset.html).toContain('href="https://app.acme.test/new?lang=es#token=to-ken_1"')
    expect(render(REALM, wanted('email_verify', { look })).text).toContain('https://acme.example.com/verify-email#token=to-ken_1')
    expect(render(REALM, wanted('register_known', { look })).text).toContain('log in at https://app.acme.test/in,')
    expect(render(REALM, wanted('register_known')).text).toContain('log in at https://acme.example.com/login,')
  })

  it.each(['http://localhost:3000/new', 'javascript:alert(1)', 'https://bo@evil.test', 'https://evil.test/#x'])(
    'leads nowhere else, whatever was stored: %s',
    (stored) => {
      const { text, html } = render(REALM, wanted('password_reset', { look: { ...look, links: { reset_password: stored } } }))
      expect(text.split('\n')).toContain('https://acme.example.com/reset-password#token=to-ken_1')
      expect(html).not.toContain(stored)
    },
  )

  it('leads to localhost for a tenant that is a demo', () => {
    const links = { reset_password: 'http://localhost:3000/new' }
    const { text } = render({ ...REALM, is_demo: true }, wanted('password_reset', { look: { ...look, links } }))
    expect(text.split('\n')).toContain('http://localhost:3000/new#token=to-ken_1')
  })

  it('has its colour, with a text on it that can be read', () => {
    const button = (more: object) => /background:(#\w{6});color:(#\w{6})/.exec(render(REALM, wanted('password_reset', more)).html)
    const [, background = '', colour = ''] = button({ look }) ?? []
    expect(contrastOf(background, '#ffffff')).toBeGreaterThanOrEqual(4.5)
    expect(contrastOf(background, colour)).toBeGreaterThanOrEqual(4.5)
    expect(button({})?.slice(1)).toEqual(['#1f4e79', '#ffffff'])
  })
})

describe('what people and tenants chose', () => {
  const EVIL = '<img src=x onerror=alert(1)>"\'&amp;{link}{until}\r\nBcc: mallory@example.test'
  const evil = (kind: MailKind) =>
    render(
      REALM,
      wanted(kind, {
        look: { name: EVIL, accent_color: null, links: {} },
        name: EVIL,
        data: {
          until: EVIL,
          expires_at: EVIL,
          erase_at: EVIL,
          new_email: EVIL,
          accepted_by: EVIL,
          network: EVIL,
          key_name: EVIL,
          passkey_name: EVIL,
          provider: EVIL,
          impersonator: EVIL,
          reason: EVIL,
          organization: EVIL,
          inviter: EVIL,
          competencies: EVIL,
          person: EVIL,
          read_only_from: EVIL,
          prefix: EVIL,
        },
        secrets: { token: EVIL, code: EVIL },
      }),
    )

  it.each(kinds)('is text and not markup, header or placeholder in %s', (kind) => {
    const { subject, text, html } = evil(kind)
    expect(subject).not.toMatch(/[\r\n]/)
    expect(text).not.toMatch(/\nBcc/)
    expect(html).not.toMatch(/<img|onerror=alert\(1\)>"/)
    expect(html).toContain('&lt;img src=x onerror=alert(1)&gt;&quot;&#39;&amp;amp;{link}{until} Bcc')
    const tags = (page: string) => [...page.matchAll(/<\/?([a-z0-9!]+)/gi)].map(([, tag]) => tag)
    expect(tags(html)).toEqual(tags(render(REALM, wanted(kind)).html))
  })
})

describe('a greeting', () => {
  const greeted = (name: string, locale = 'en') => {
    const { text, html } = render(REALM, wanted('password_changed', { name, locale }))
    return { first: text.split('\n')[0], html }
  }

  it.each<string>([
    'https://evil.example/parcel',
    'Dear customer, your parcel waits at HTTPS://evil.example',
    'write to win@evil.example',
    'see www.evil.example',
    'see WWW.evil.example',
    'see ｗｗｗ．evil.example',
    'see w\u200bww.evil.example',
    'win＠evil.example',
    'https:\u2060//evil.example',
    'x'.repeat(61),
  ])('has no name that is a message: %j', (name) => {
    for (const [locale, plain] of [
      ['en', 'Hello,'],
      ['es', 'Hola:'],
    ] as const) {
      const { first, html } = greeted(name, locale)
      expect(first).toBe(plain)
      expect(html).not.toMatch(/evil|xxx/)
    }
  })

  it.each(['Ada', "Ana Lucía O'Neill-Pérez", 'J. R. R. Tolkien', '山田 太郎', 'x'.repeat(60)])('has the name %j', (name) => {
    expect(greeted(name).first).toBe(`Hello ${name},`)
  })
})

describe('a text that somebody chose', () => {
  const LINK = /:\/\/|[\p{L}\p{N}_-][.。]\p{L}[\p{L}\p{N}-]/u

  it.each(kinds)('has no URL that a mail client makes a link of in %s: not a name, nor the tenant’s, nor a value', (kind) => {
    for (const chosen of ['evil.test', 'Win at evil.test/now', 'evil。test', 'ev\u200bil.te\u00adst', 'evil．test']) {
      const realm = { legal_name: `${chosen} https://evil.test`, is_demo: false, url: 'https://acme-example' }
      const data = {
        until: '2026-03-04T05:06:07Z',
        expires_at: '2026-03-04T05:06:07Z',
        erase_at: '2026-03-04T05:06:07Z',
        new_email: 'new@acme-test',
        accepted_by: 'cy@acme-test',
        network: chosen,
        key_name: chosen,
        passkey_name: chosen,
        provider: chosen,
        impersonator: chosen,
        reason: chosen,
        organization: chosen,
        inviter: chosen,
        competencies: chosen,
        person: chosen,
        read_only_from: '2026-03-04T05:06:07Z',
        prefix: 'Ab3dEf9h',
      }
      const { subject, text, html } = render(realm, wanted(kind, { name: chosen, data }))
      const page = html.replace(/<[^>]*>/g, ' ')
      for (const part of [subject, text, page])
        expect(
          part
            .normalize('NFKC')
            .replaceAll('https://acme-example', '')
            .replace(/\p{Cf}/gu, ''),
          part,
        ).not.toMatch(LINK)
    }
  })

  it('is otherwise as it was', () => {
    const { text } = render(REALM, wanted('password_changed', { name: 'J.R. Ruiz' }))
    expect(text).toContain('Hello J.R. Ruiz,')
    expect(text).toContain('Acme S.A.C.')
  })

  it('that is an address is printed whole: the old one is told which is the new one', () => {
    expect(render(REALM, wanted('email_changed')).text).toContain('new@acme.test')
  })
})

it('a text to a phone is the code and no letter', () => {
  expect(render(REALM, wanted('phone_code')).text).toBe('123456 is your code for Acme S.A.C. Do not share it with anybody.')
})

it('a moment is in the person’s own time, and in UTC when theirs is none', () => {
  expect(render(REALM, wanted('account_locked')).text).toContain('March 4, 2026 at 12:06')
  expect(render(REALM, wanted('account_locked', { timezone: 'Nowhere/At_all' })).text).toContain('(UTC)')
})

it.each<MailKind>(['password_reset', 'password_reset_by_admin', 'password_reset_link'])(
  '%s says until when its link works',
  (kind) => {
    expect(render(REALM, wanted(kind)).text).toContain('The link works until March 4, 2026 at 12:06')
    expect(render(REALM, wanted(kind, { locale: 'es' })).text).toContain(
      'El enlace funciona hasta el 4 de marzo de 2026 a las 0:06',
    )
  },
)

it('a mail that lacks something is not sent half-finished', () => {
  expect(() => render(REALM, wanted('password_reset', { secrets: {} }))).toThrow('lacks its link')
  expect(() => render(REALM, { ...wanted('register'), kind: 'toString' })).toThrow('no template')
})
