/** Every kind of mail, and the values of its template beside `tenant`, `name` and `url`. A `token` is that of the link, to be pasted. */
export const KINDS = {
  account_locked: ['until', 'network'],
  device_locked: ['until'],
  api_key_created: ['key_name', 'prefix'],
  identity_added: ['provider'],
  identity_removed: ['provider'],
  license_ends: ['organization', 'expires_at', 'read_only_from'],
  passkey_added: ['passkey_name'],
  passkey_copied: ['passkey_name'],
  passkey_removed: ['passkey_name'],
  mfa_enabled: [],
  mfa_disabled: [],
  mfa_reset: [],
  password_changed: [],
  password_expires: ['expires_at'],
  password_reset: ['link', 'token', 'expires_at'],
  password_reset_by_admin: ['link', 'token', 'expires_at'],
  password_reset_link: ['link', 'token', 'expires_at'],
  invitation: ['link', 'token', 'inviter', 'expires_at'],
  invitation_to_organization: ['link', 'token', 'inviter', 'organization', 'expires_at'],
  invitation_accepted: ['accepted_by'],
  register: ['link', 'token'],
  register_known: ['login'],
  email_login: ['link', 'code', 'network', 'expires_at'],
  login_code: ['code', 'network', 'expires_at'],
  email_verify: ['link', 'token'],
  email_change: ['link', 'token'],
  email_changed: ['new_email'],
  phone_code: ['code'],
  erasure_requested: ['link', 'token', 'erase_at'],
  erasure_by_admin: ['erase_at'],
  erasure_cancelled: [],
  competency_expires: ['competencies'],
  competency_expires_of_other: ['competencies', 'person'],
  notifications: [],
  impersonated: ['impersonator', 'reason', 'until'],
} as const satisfies Record<string, readonly string[]>

export type MailKind = keyof typeof KINDS

/**
 * Paragraphs have placeholders such as `{tenant}`. A paragraph that is only `{link}` is shown as a button, one that is only `{token}` or
 * `{code}` as a code.
 */
export type Template = { subject: string; paragraphs: string[]; action?: string }

export type MailLanguage = {
  greeting: string
  /** For a recipient without a name, such as a registrant. */
  greeting_unnamed: string
  footer: string
  mails: Record<MailKind, Template>
}
