/** What the pages of the own data and of logins from elsewhere say. */
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
