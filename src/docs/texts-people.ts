/** What operations on units, organizations and employees say of themselves, beneath their summaries. */
export const people = {
  listUnits: 'Returns departments and their teams within the scope of the permission.',
  createUnit: 'A department, or a team within one.',
  getUnit: 'Returns a unit that the caller can access.',
  replaceUnit: 'Without `parent_id` the unit becomes a root. `If-Match` prevents lost updates.',
  updateUnit: 'Fields that are left out stay.',
  deleteUnit: 'Refused with `in_use` while it has users or teams.',
  listOrganizations: 'Returns organizations within the scope of the permission, and the one that the caller belongs to.',
  createOrganization: 'With `unit_ids` it takes units along, with their users. A plan may limit how many there are.',
  getOrganization: 'Returns it with the first page of its people, its units and the invitations that are open.',
  updateOrganization: 'Settings are merged key by key. Its limit and plan group are changed at scope `all` alone.',
  deleteOrganization: 'Begins with 202; the scheduled job does the rest. Its state is `ending` until it is not found any more.',
  listOrganizationMembers: 'Returns members within the scope of the permission.',
  putOrganizationMember: 'They leave another organization, with its units and the roles that they held within it.',
  removeOrganizationMember: 'The roles that they held within it end.',
  listInvitations: 'Filter by `status` and organization; newest first.',
  getInvitation: 'Never with its token: that is in the mail alone.',
  revokeInvitation: 'Its link stops working. One that was accepted is refused with `illegal_state`.',
  listUserGroups: 'Returns the roles that they hold of those that can be managed below scope `all`.',
  createInvitation:
    'What is given is what the caller holds, decided again when it is accepted. Open invitations count for `max_users` and the limit of the organization.',
  resendInvitation: 'It works for seven days from now. Whoever sends it again is its inviter from then on.',
  acceptInvitation:
    'The token of the mail works once. A new person sends a `password`; somebody who has an account sends it with their session, and is moved.',
  previewInvitation: 'The token stays valid.',
  setUserGroups: 'All or nothing. Roles that are not manageable stay as they are.',
  listEmployees: 'Within the scope of the permission. What is sensitive is masked without `employee:read_sensitive`.',
  createEmployee: 'One for each document, and at most one for each account.',
  importEmployees:
    'Takes a line or row for each employee and answers a line for each, then a summary. The first row of a CSV names its columns. An employee who is there is reported as a duplicate. `dry_run=true` checks and creates nothing.',
  reportEmployees: 'Without `at` those who are employed now; by status also those who have left.',
  countEmployees: 'At most 400 steps. Whose beginning is not known counts since they were entered.',
  getEmployee: 'What is sensitive is masked without `employee:read_sensitive`.',
  updateEmployee: 'Fields that are left out stay. Nobody changes what is kept of themselves.',
  terminateEmployee:
    'The account ends at the same moment: its sessions, API keys and delegations too. This needs the power over others that its user holds.',
  reinstateEmployee: 'Sessions, keys and delegations that ended stay ended.',
}
