import { sql } from 'drizzle-orm'
import { bigint, boolean, check, integer, jsonb, text, uuid } from 'drizzle-orm/pg-core'
import { bytea, freehold, moment } from '../kernel/schema.ts'

/** What each sign weighs by default (measured: docs/guides/risk.md). */
export const RISK_WEIGHTS = {
  new_device: 20,
  new_country: 20,
  new_network: 10,
  impossible_travel: 40,
  failures: 20,
  unusual_hour: 10,
  foreign_token: 40,
  many_accounts: 30,
  breached_password: 20,
}

/** The one row of a tenant's database that identifies the tenant, says whether it is active, and holds its settings. */
export const tenant = freehold.table(
  'tenant',
  {
    one: boolean().primaryKey().default(true),
    id: uuid().notNull(),
    subdomain: text().notNull(),
    is_active: boolean().notNull().default(true),
    /** The registry's version that this row was written from; an older one never replaces a newer one. */
    v: bigint({ mode: 'number' }).notNull().default(0),
    /** While the tenant is moved: the attempt that copies its rows, which nothing changes meanwhile (src/tenants/fence). */
    writes_closed_by: integer(),
    /** Until when the platform's license lasts, and from when on the tenant can only be read; null: it needs none. */
    licensed_until: moment(),
    read_only_from: moment(),
    max_failures: integer().notNull().default(5),
    lock_minutes: integer().notNull().default(30),
    idle_days: integer().notNull().default(7),
    /** Takes the place of idle_days where it is set. */
    idle_minutes: integer(),
    session_days: integer().notNull().default(30),
    max_sessions: integer().notNull().default(5),
    /** The lifetime of an access token. */
    access_minutes: integer().notNull().default(15),
    /** After how many days a password must be changed; 0: never. */
    password_days: integer().notNull().default(0),
    password_warning_days: integer().notNull().default(14),
    password_min_length: integer().notNull().default(12),
    password_max_length: integer().notNull().default(128),
    password_upper: boolean().notNull().default(false),
    password_lower: boolean().notNull().default(false),
    password_digit: boolean().notNull().default(false),
    password_special: boolean().notNull().default(false),
    password_unique: integer().notNull().default(1),
    /** How many previous passwords cannot be reused. */
    password_history: integer().notNull().default(5),
    /** Reject passwords that contain a part of the name or e-mail, and those that are guessed first (src/passwords/guessable.ts). */
    password_personal: boolean().notNull().default(true),
    password_common: boolean().notNull().default(true),
    /** Ask a public list of breached passwords for a new one. */
    password_breached: boolean().notNull().default(false),
    /** How long a password that somebody else chose lets its user log in the first time. */
    first_password_hours: integer().notNull().default(72),
    /** How long a mailed link for a new password works. */
    reset_link_minutes: integer().notNull().default(60),
    /** How long an API key lives that is made without an end; 0: until it is revoked. */
    api_key_days: integer().notNull().default(365),
    /** Whether the OAuth 2 password grant is offered. */
    password_grant: boolean().notNull().default(false),
    /** Whether users may log in with a code or a link that they are mailed (src/email-login). */
    email_login: boolean().notNull().default(false),
    /** Which of a user's permissions an access token carries: as many as fit, those of the list, or none. */
    token_permissions: text({ enum: ['all', 'list', 'none'] })
      .notNull()
      .default('all'),
    token_permission_list: text().array().notNull().default([]),
    /**
     * Self-registration: whether it is allowed, for which e-mail domains (empty: any), and with which role (null: the fallback
     * role).
     */
    registration: boolean().notNull().default(false),
    registration_domains: text().array().notNull().default([]),
    registration_role: text(),
    /**
     * Who must have a second factor: everybody, or who holds one of these roles (ids); and how many days they have to set one up. Since
     * when, a trigger notes (src/factors/required.sql).
     */
    mfa_required: boolean().notNull().default(false),
    mfa_required_roles: text().array().notNull().default([]),
    mfa_grace_days: integer().notNull().default(14),
    mfa_required_since: moment(),
    /** For how many days a device may be remembered on which the second factor was proven; 0: none is. */
    mfa_remember_days: integer().notNull().default(30),
    /** A delegation must be approved by a user with delegation:approve. */
    delegation_approval: boolean().notNull().default(false),
    /** How many mails and texts one recipient is sent within an hour, and the tenant sends within a day (src/mail/limits.sql). */
    mail_per_recipient_hour: integer().notNull().default(5),
    mail_per_day: integer().notNull().default(2000),
    /** How many delegations that have not ended a user can have as their delegator. */
    max_delegations: integer().notNull().default(50),
    /** For how many days notifications are kept (src/notifications). */
    notification_days: integer().notNull().default(90),
    /**
     * Risk (src/risk): what each sign of it weighs, from which score on a login is suspicious, and from which one it is stopped, and how;
     * whether the list of breached passwords is asked at logins; for how many days logins are kept to compare with.
     */
    risk_weights: jsonb().$type<Record<string, number>>().notNull().default(RISK_WEIGHTS),
    risk_suspicious: integer().notNull().default(50),
    risk_stop: integer().notNull().default(80),
    risk_action: text({ enum: ['none', 'step_up', 'refuse'] })
      .notNull()
      .default('step_up'),
    risk_breached: boolean().notNull().default(false),
    risk_days: integer().notNull().default(90),
    /** What its pages and mails are called and look like (look.ts): null takes the legal name, and the default colour. */
    name: text(),
    accent_color: text(),
    /** Addresses that mails and pages lead to in place of our pages (links.ts): those that are set. */
    links: jsonb().notNull().default({}),
    /** Whose pages may call from a browser, beside the tenant's own (src/names/origins.ts). */
    origins: text().array().notNull().default([]),
    updated_at: moment().notNull().defaultNow(),
  },
  (t) => [
    check('tenant_origins', sql`cardinality(${t.origins}) <= 50 and octet_length(array_to_string(${t.origins}, '')) <= 12750`),
    check('tenant_is_one', sql`${t.one}`),
    check('tenant_second_factor', sql`cardinality(${t.mfa_required_roles}) <= 50 and ${t.mfa_grace_days} between 0 and 90`),
    check('tenant_notification_days', sql`${t.notification_days} between 1 and 365`),
    check(
      'tenant_risk',
      sql`jsonb_typeof(${t.risk_weights}) = 'object' and octet_length(${t.risk_weights}::text) <= 1024
        and ${t.risk_suspicious} between 1 and 100 and ${t.risk_stop} between 1 and 100
        and ${t.risk_action} in ('none', 'step_up', 'refuse') and ${t.risk_days} between 30 and 365`,
    ),
    check('tenant_remembered', sql`${t.mfa_remember_days} between 0 and 30`),
    check(
      'tenant_token_permissions',
      sql`${t.token_permissions} in ('all', 'list', 'none') and cardinality(${t.token_permission_list}) <= 100`,
    ),
    check(
      'tenant_settings',
      sql`${t.max_failures} between 1 and 100 and ${t.lock_minutes} between 1 and 1440 and ${t.idle_days} between 1 and 365
        and ${t.session_days} between 1 and 365 and ${t.max_sessions} between 1 and 1000 and ${t.access_minutes} between 5 and 10080
        and ${t.password_days} between 0 and 3650 and ${t.password_warning_days} between 0 and 365 and ${t.password_min_length} between 8 and 64
        and ${t.password_max_length} between 64 and 1024 and ${t.password_unique} between 1 and 32 and ${t.password_history} between 0 and 24
        and ${t.idle_minutes} between 15 and 525600 and ${t.first_password_hours} between 1 and 720
        and ${t.reset_link_minutes} between 15 and 1440 and ${t.api_key_days} between 0 and 3650
        and ${t.max_delegations} between 1 and 200 and ${t.mail_per_recipient_hour} between 1 and 20 and ${t.mail_per_day} between 1 and 50000`,
    ),
    check(
      'tenant_look',
      sql`char_length(${t.name}) between 1 and 70 and ${t.accent_color} ~ '^#[0-9a-f]{6}$'
        and jsonb_typeof(${t.links}) = 'object' and octet_length(${t.links}::text) <= 4096`,
    ),
  ],
)

/** The logo of the tenant, at most one: apart from the settings, so that reading those stays small. */
export const logo = freehold.table(
  'logo',
  {
    one: boolean().primaryKey().default(true),
    content_type: text({ enum: ['image/png', 'image/jpeg', 'image/webp'] }).notNull(),
    width: integer().notNull(),
    height: integer().notNull(),
    /** The SHA-256 of the content. */
    etag: text().notNull(),
    content: bytea().notNull(),
    updated_at: moment().notNull().defaultNow(),
  },
  (t) => [
    check('logo_is_one', sql`${t.one}`),
    check(
      'logo_is_small',
      sql`${t.content_type} in ('image/png', 'image/jpeg', 'image/webp') and ${t.width} between 1 and 1024
        and ${t.height} between 1 and 1024 and octet_length(${t.content}) between 1 and 65536`,
    ),
  ],
)
