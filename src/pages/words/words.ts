import type { DataWords } from './data-words.ts'
import type { Said } from './said.ts'

/** Everything that a page says, in one language. `{name}` is the tenant's. Keys of `said` and `problems` are codes. */
export type Words = DataWords & {
  show: string
  hide: string
  optional: string
  back: string
  working: string
  error_title: string
  summary: string
  stale: string
  details: string
  trace: string
  email: string
  identifier: string
  password: string
  current_password: string
  new_password: string
  code: string
  code_hint: string
  revoke_api_keys: string
  rules: {
    min: string
    max: string
    upper: string
    lower: string
    digit: string
    special: string
    unique: string
    personal: string
    common: string
    breached: string
    history: string
    met: string
  }
  /** What a page says at its top after it was sent here. */
  said: Record<Said, string>
  /** What is said in place of a problem of the API, whose words are for programs. */
  problems: Partial<Record<string, string>>
  login: { title: string; lead: string; submit: string; forgot: string; no_account: string; register: string }
  second: {
    title: string
    lead: string
    mailed_lead: string
    code: string
    hint: string
    mailed_hint: string
    resend: string
    resent: string
    too_soon: string
    no_more: string
    ended: string
    wrong: string
    again: string
    remember: string
  }
  email_login: {
    offer: string
    title: string
    lead: string
    submit: string
    code_lead: string
    hint: string
    wrong: string
    again: string
    confirm: string
    confirm_lead: string
    device: string
    place: string
    at: string
    unknown: string
    confirm_submit: string
    not_you: string
  }
  invitation: {
    title: string
    lead: string
    go_on: string
    by: string
    to: string
    until: string
    given_name: string
    family_name: string
    submit: string
    passkey_lead: string
    submit_passkey: string
    known: string
    log_in: string
    join_lead: string
    other_account: string
  }
  external: { with: string }
  reload: { title: string; text: string; link: string }
  reset: {
    title: string
    lead: string
    ask: string
    ask_again: string
    submit: string
    set_title: string
    set_lead: string
    set_submit: string
    have_code: string
  }
  verify: {
    title: string
    lead: string
    submit: string
    password: string
    of_account: string
    is_mine: string
    again_title: string
    again: string
  }
  register: { title: string; lead: string; submit: string; closed: string; have_account: string; login: string }
  erasure: { title: string; lead: string; submit: string }
  email_change: {
    title: string
    lead: string
    field: string
    now: string
    submit: string
    confirm: string
    confirm_lead: string
  }
  account: {
    title: string
    greeting: string
    username: string
    email: string
    verified: string
    unverified: string
    roles: string
    none: string
    log_out: string
    log_out_all: string
    log_out_all_hint: string
    change_password: string
    change_email: string
    sessions: string
    this_session: string
    remembered: string
    last_active: string
    unknown_device: string
    end: string
    end_of: string
  }
  mfa: {
    title: string
    is_on: string
    is_off: string
    set_up: string
    scan: string
    scan_lead: string
    qr: string
    by_hand: string
    first_code: string
    switch_on: string
    wrong_first: string
    codes: string
    codes_lead: string
    kept: string
    switch_off: string
    new_codes: string
    wrong: string
  }
  change: { title: string; lead: string; must: string; submit: string; revoke: string }
  step_up: {
    title: string
    lead: string
    submit: string
    submit_code: string
    submit_passkey: string
    submit_former: string
    wrong: string
    wrong_code: string
  }
  passkeys: {
    title: string
    lead: string
    none: string
    add: string
    add_lead: string
    name: string
    submit: string
    used: string
    unused: string
    ends: string
    rename: string
    new_name: string
    remove: string
    remove_of: string
    log_in: string
    log_in_former: string
    failed: string
    refused: string
    not_added: string
    only_way: string
  }
  keys: {
    title: string
    lead: string
    none: string
    create: string
    name: string
    permissions: string
    expires: string
    by_default: string
    days: string
    never: string
    submit: string
    revoke: string
    revoke_of: string
    made: string
    made_lead: string
    used: string
    unused: string
    until: string
    forever: string
    go_back: string
    from: string
    addresses: string
    addresses_hint: string
    rotate: string
    rotate_of: string
    rotated_lead: string
  }
  accounts: { title: string; go_on: string; go_on_as: string; unnamed: string; add: string }
}
