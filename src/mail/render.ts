/**
 * Renders a mail. Threat: names that users and tenants chose become markup, headers, links or the message itself in a mail to
 * somebody else. So every value is escaped in HTML and loses its line breaks; what somebody chose has no URL that a mail client
 * would make a link, and nobody is greeted by what is not a name. A link is built from the realm's own URL, or from one that who may
 * do everything in the tenant set (settings/links.ts); its token is in the fragment, which browsers send to no server. The token is
 * there once more to be pasted, for a page that runs no script and so does not see the fragment.
 */
import type { Realm } from '../kernel/context.ts'
import { type Colours, schemesOf } from '../settings/contrast.ts'
import { type LinkName, linkTo } from '../settings/links.ts'
import type { MailLook } from './outbox.ts'
import { en } from './templates/en.ts'
import { es } from './templates/es.ts'
import { KINDS, type MailKind, type MailLanguage, type Template } from './templates/template.ts'
import { digestOf, TOLD_MOMENTS } from './templates/told.ts'

export type Rendered = { subject: string; text: string; html: string }

type Wanted = {
  kind: string
  channel: 'email' | 'sms'
  locale: string
  /** The user's name; null for a registrant. */
  name: string | null
  timezone: string | null
  data: Record<string, unknown>
  secrets: Record<string, string>
  look?: MailLook
}

/** A page of ours that no frontend of the tenant takes the place of, or the name of a link. */
type Page = LinkName | 'cancel_erasure'

/** Where a mail's token is taken. */
const PAGES: Partial<Record<MailKind, Page>> = {
  password_reset: 'reset_password',
  password_reset_by_admin: 'reset_password',
  password_reset_link: 'reset_password',
  register: 'verify_email',
  email_verify: 'verify_email',
  email_change: 'email_change',
  email_login: 'email_login',
  erasure_requested: 'cancel_erasure',
  invitation: 'invitation',
  invitation_to_organization: 'invitation',
}
/** Our own pages. A new address is confirmed as any other is; /email-change is where somebody who is logged in asks for one. */
const OURS: Record<Page, string> = {
  reset_password: '/reset-password',
  verify_email: '/verify-email',
  email_change: '/verify-email',
  login: '/login',
  email_login: '/login/link',
  invitation: '/invitation',
  cancel_erasure: '/cancel-erasure',
}
const NO_LOOK: MailLook = { name: null, accent_color: null, links: {} }
const MOMENTS = ['until', 'expires_at', 'read_only_from', 'erase_at', ...TOLD_MOMENTS]
/** Values that are validated addresses: a recipient must see exactly which. */
const ADDRESSES = ['new_email', 'accepted_by']
const LONGEST_NAME = 60

/** `es`, `es-PE` ... are Spanish, all other locales English. */
export const mailLanguageOf = (locale: string): ['en' | 'es', MailLanguage] =>
  /^es([-_]|$)/i.test(locale) ? ['es', es] : ['en', en]

const isKind = (kind: string): kind is MailKind => Object.hasOwn(KINDS, kind)

/**
 * Subject, text and HTML of a mail of the realm. Fails for a kind without a template, or when a value that the template needs is
 * missing.
 */
export function render(realm: Pick<Realm, 'legal_name' | 'is_demo' | 'url'>, wanted: Wanted): Rendered {
  const { kind, channel, locale, name, timezone, data, secrets, look = NO_LOOK } = wanted
  if (!isKind(kind)) throw new Error(`There is no template for mails of the kind ${kind}.`)
  const [code, language] = mailLanguageOf(locale)
  const list = kind === 'notifications' && Array.isArray(data.items) ? digestOf(code, data.items) : null
  const template = { ...language.mails[kind], ...list?.template }
  const { token } = secrets
  const greeted = name !== null && isName(name)
  const to = (page: Page) =>
    page === 'cancel_erasure' ? `${realm.url}${OURS[page]}` : linkTo(realm, look.links, page, OURS[page])
  const page = PAGES[kind]
  const values: Record<string, unknown> = {
    tenant: withoutUrls(look.name ?? realm.legal_name),
    url: realm.url,
    login: to('login'),
    ...(greeted && { name: withoutUrls(name) }),
    ...Object.fromEntries(
      Object.entries({ ...data, ...list?.values }).map(([key, value]) => [key, shown(key, value, code, timezone)]),
    ),
    ...(secrets.code !== undefined && { code: secrets.code }),
    ...(token !== undefined && page && { token, link: `${to(page)}#token=${encodeURIComponent(token)}` }),
  }
  for (const needed of KINDS[kind])
    if (typeof values[needed] !== 'string') throw new Error(`A mail of the kind ${kind} lacks its ${needed}.`)
  const greeting = greeted ? language.greeting : language.greeting_unnamed
  return {
    subject: filled(template.subject, values),
    text: (channel === 'sms' ? template.paragraphs : [greeting, ...template.paragraphs, language.footer])
      .map((part) => filled(part, values))
      .join('\n\n'),
    html: html(
      code,
      [greeting, ...template.paragraphs],
      { ...language, ...template, ...schemesOf(look.accent_color).light },
      values,
    ),
  }
}

type Styled = Pick<MailLanguage, 'footer'> & Pick<Template, 'subject' | 'action'> & Colours

function html(code: string, parts: string[], { subject, action, footer, accent, text }: Styled, values: Record<string, unknown>) {
  const escaped = Object.fromEntries(Object.entries(values).map(([key, value]) => [key, escaping(oneLine(value))]))
  const body = parts.map((part) =>
    part === '{link}'
      ? `<p><a href="${escaped.link}" style="display:inline-block;padding:12px 20px;border-radius:6px;background:${accent};color:${text};text-decoration:none">${escaping(action ?? '')}</a></p><p style="font-size:13px;color:#555555;word-break:break-all">${escaped.link}</p>`
      : `<p${part === '{token}' || part === '{code}' ? ' style="font-family:monospace;word-break:break-all"' : ''}>${filled(part, escaped)}</p>`,
  )
  return `<!doctype html><html lang="${code}"><head><meta charset="utf-8"><title>${filled(subject, escaped)}</title></head><body style="margin:0;padding:24px;font-family:Arial,Helvetica,sans-serif;font-size:16px;line-height:1.5;color:#222222"><div style="max-width:560px;margin:0 auto">${body.join('')}<p style="margin-top:32px;font-size:13px;color:#555555">${filled(footer, escaped)}</p></div></body></html>`
}

/**
 * Fills placeholders in one pass, so that a value that looks like one is not filled again. A full stop after a value that ends in
 * one is dropped.
 */
const filled = (text: string, values: Record<string, unknown>) =>
  text.replace(/\{(\w+)\}(\.?)/g, (_, key: string, stop: string) => {
    const value = oneLine(values[key])
    return value.endsWith('.') ? value : value + stop
  })

/** Whether a user is greeted by this name: a short one, without what makes a link. */
function isName(name: string): boolean {
  const seen = visible(name)
  return [...seen].length <= LONGEST_NAME && !/:\/\/|@|www\./i.test(seen)
}

/** A text that somebody chose, as it is read: letters in their usual form, nothing invisible between them. */
const visible = (text: string) => text.normalize('NFKC').replace(/[\p{Cf}\p{Default_Ignorable_Code_Point}]/gu, '')

/** Breaks up what a mail client would make a link: `://`, and dots between the labels of a domain name. `S.A.C.` has none. */
const withoutUrls = (text: string) =>
  visible(text)
    .replaceAll('://', ': //')
    .replace(/(?<=[\p{L}\p{N}_-])[.\u3002](?=\p{L}[\p{L}\p{N}-])/gu, '. ')

/** A value of the template that is not secret, as it is printed. */
function shown(key: string, value: unknown, code: string, timezone: string | null): unknown {
  if (MOMENTS.includes(key.replace(/^told\d+_/, ''))) return moment(value, code, timezone)
  return typeof value === 'string' && !ADDRESSES.includes(key) ? withoutUrls(value) : value
}

const oneLine = (value: unknown) => String(value ?? '').replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ')

const ENTITIES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }
const escaping = (text: string) => text.replace(/[&<>"']/g, (character) => ENTITIES[character] ?? '')

/** A moment in the format of the language, in the user's own time zone. */
function moment(value: unknown, code: string, timezone: string | null): string {
  const at = new Date(String(value))
  if (Number.isNaN(at.getTime())) return String(value)
  const write = (timeZone: string) =>
    new Intl.DateTimeFormat(code, { dateStyle: 'long', timeStyle: 'short', timeZone }).format(at)
  try {
    const zone = timezone ?? 'UTC'
    return `${write(zone)} (${zone})`
  } catch {
    return `${write('UTC')} (UTC)`
  }
}
