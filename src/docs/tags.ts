/** The subjects of the document, in its order: which paths belong to each. */
const SUBJECTS: [name: string, paths: RegExp, description: string][] = [
  ['Authentication', /^\/api\/v1\/auth\//, 'Log in and out, refresh tokens, passwords, registration, verification.'],
  ['OAuth', /^(\/oauth\/|\/api\/v1\/audiences)/, 'The endpoints and errors that OAuth 2.0 clients know.'],
  ['Discovery', /^\/\.well-known\//, 'Public keys and metadata to verify the tokens of a tenant.'],
  ['Permissions', /^\/api\/v1\/(authz|permissions|users\/\{id\}\/(permissions|overrides))/, 'Who may do what, and why.'],
  ['Roles', /^\/api\/v1\/(roles|users\/\{id\}\/roles)/, 'Roles, their permissions, and who holds them.'],
  ['Delegations', /^\/api\/v1\/delegations/, 'Acting for somebody else for a time.'],
  ['Sessions', /^\/api\/v1\/(sessions|users\/\{id\}\/sessions)/, 'Where people are logged in, and when they tried.'],
  ['API keys', /^\/api\/v1\/(api-keys|users\/\{id\}\/api-keys)/, 'Credentials for programs, which act as their owner.'],
  [
    'Audit',
    /^\/api\/v1\/(activities|audit|users\/\{id\}\/activities)/,
    'What was done, by whom, and proof that nothing was changed.',
  ],
  [
    'Events',
    /^\/api\/v1\/(events|webhooks|hooks)/,
    'The audit as a feed: read it, or have it sent to you; and being asked before something is done.',
  ],
  ['Users', /^\/api\/v1\/users/, 'The people of a tenant.'],
  ['Organizations', /^\/api\/v1\/organizations/, 'Who belongs together within a tenant: people, units and roles.'],
  ['Employees', /^\/api\/v1\/employees/, 'Who works here, with or without an account, until when, and how many.'],
  ['Competencies', /^\/api\/v1\/competenc/, 'What people can do, at which level, until when, and who verified it.'],
  ['Invitations', /^\/api\/v1\/invitations/, 'Inviting people by mail, and accepting.'],
  ['Notifications', /^\/api\/v1\/notifications/, 'What people are told, in a list, as a stream and by mail.'],
  ['Units', /^\/api\/v1\/units/, 'Departments and teams, which scopes refer to.'],
  [
    'Settings',
    /^(\/api\/v1\/settings|\/logo$)/,
    'Rules of a tenant for passwords, sessions, registration and mail; its name, colour, logo and links.',
  ],
  ['Usage', /^\/api\/v1\/usage/, 'Limits of a tenant, and what it uses of them.'],
  ['Platform: authentication', /^\/platform\/v1\/(auth\/|\.well-known)/, 'As of a tenant, for operators.'],
  ['Platform: operators', /^\/platform\/v1\/operators/, 'The users of the platform.'],
  ['Platform: notifications', /^\/platform\/v1\/notifications/, 'What an operator is told of their own account.'],
  ['Platform: sessions and keys', /^\/platform\/v1\/(sessions|api-keys)/, 'Sessions and API keys of the operator who asks.'],
  ['Platform: audit', /^\/platform\/v1\/audit/, 'What operators did.'],
  ['Platform: settings', /^\/platform\/v1\/(settings|keys)/, 'Rules for operators, as a tenant has them for its users; keys.'],
  ['Platform: plans', /^\/platform\/v1\/(plans|tenants\/\{id\}\/licenses)/, 'Plans and licenses, and the limits in them.'],
  [
    'Platform: migrations',
    /^\/platform\/v1\/(migrations|tenants\/\{id\}\/undo-migration)/,
    'Taking tenants to the newest schema.',
  ],
  [
    'Platform: databases',
    /^\/platform\/v1\/(doctor|tenants\/\{id\}\/(move|restore-point|rotate|connection-string|drift|provisioning))/,
    'Where tenants are: moving, restoring, rotating, comparing.',
  ],
  ['Platform: analytics', /^\/platform\/v1\/(analytics|tenants\/\{id\}\/usage)/, 'Tenants and their days in numbers.'],
  ['Platform: tenants', /^\/platform\/v1\/tenants/, 'Creating, changing, switching off and erasing tenants.'],
]

/** The tag of a path. */
export const subjectOf = (path: string): string => SUBJECTS.find(([, paths]) => paths.test(path))?.[0] ?? 'Other'

/** The subjects that have an operation, as OpenAPI has them. */
export const tagsOf = (used: Set<string>) =>
  SUBJECTS.filter(([name]) => used.has(name)).map(([name, , description]) => ({ name, description }))
