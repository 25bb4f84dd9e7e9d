/** Every mail that there is, and what its template may show beside `tenant`, `name` and `url`. */
export const KINDS = {
  account_locked: ['until'],
  password_changed: [],
  password_expires: ['expires_at'],
  password_reset: ['link'],
  password_reset_by_admin: ['link'],
  register: ['link'],
  register_known: [],
  email_verify: ['link'],
  email_change: ['link'],
  email_changed: ['new_email'],
  phone_code: ['code'],
} as const satisfies Record<string, readonly string[]>

export type Kind = keyof typeof KINDS

/** Paragraphs hold placeholders, `{tenant}`. One that is nothing but `{link}` or `{code}` is shown as a button, or large. */
export type Template = { subject: string; paragraphs: string[]; action?: string }

export type Locale = {
  greeting: string
  /** To who is nobody yet. */
  greeting_unnamed: string
  footer: string
  mails: Record<Kind, Template>
}
