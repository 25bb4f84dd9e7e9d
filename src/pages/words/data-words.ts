/** What the pages of the own data, of logins from elsewhere and of notifications say. */
export type DataWords = {
  data: {
    title: string
    picture: string
    picture_alt: string
    initials_alt: string
    choose: string
    picture_hint: string
    upload: string
    remove: string
    export: string
    export_lead: string
    as_json: string
    as_zip: string
    erase: string
    erase_lead: string
    sure: string
    erased_at: string
    is_open: string
    by_admin: string
    keep: string
  }
  notifications: {
    title: string
    none: string
    unread: string
    read: string
    read_of: string
    read_all: string
    older: string
    choose: string
    choose_lead: string
    in_app: string
    mail: string
    mails: { now: string; digest: string; off: string }
    kinds: { security: string; competency: string; invitation: string; delegation: string; license: string }
    keep: string
  }
  logins: {
    title: string
    lead: string
    none: string
    used: string
    remove: string
    remove_of: string
    only_way: string
  }
}
