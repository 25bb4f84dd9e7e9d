/** What each operation does, by its operationId: what the summary leaves out. Permission and round trips are added to it. */
import { events } from './texts-events.ts'
import { people } from './texts-people.ts'

export const TEXTS: Record<string, string> = {
  login:
    'Returns an access token and a refresh token, or with `cookie: true` on the host of the tenant sets them as cookies. Wrong, unknown, locked and inactive are answered alike. The form is that of the password grant of OAuth 2.0.',
  refreshToken:
    'Returns new tokens. Each refresh token works once: if one is used again, the session ends. With `{}` the refresh token is taken from the cookie.',
  refreshTokenFormerly: 'The same as `auth/refresh-token`, under its old name.',
  setUpTotp:
    'Returns a secret for an app such as Google Authenticator, also as a QR code. Nothing asks for its codes until `auth/mfa/verify` is sent the first one.',
  verifySecondFactor:
    'With the `mfa_token` of a login it answers like the login does. Of somebody logged in, without `mfa_token`, the first `code` of a new app switches it on, and the answer has the backup codes. A code works once; wrong ones count like wrong passwords. `remember_device` spares this device the second factor for some days.',
  resendLoginCode:
    'For a login that was answered with `methods: ["email_code"]`. The code before stops working; wrong codes stay counted. Two at most for each login, 30 seconds apart: 429 and then 409 beyond.',
  disableTotp: 'Needs the password and a code, or a backup code. The backup codes go with it, and the user is told by mail.',
  renewBackupCodes: 'Needs the password and a code. The former codes stop working.',
  changePassword:
    'Needs the current password, and ends the other sessions of the user. It works while the password has expired or must be changed.',
  changePasswordFormerly: 'The same as `auth/password-change`, under its old name.',
  stepUp:
    'Where a route answers 401 `step_up_required`, send the password, a code or a passkey here, then the same request again. Returns a new access token, or sets it as a cookie if cookies were sent; the refresh token stays. For 10 minutes the session counts as fresh.',
  logout: 'Ends the session at once, on every server; its access and refresh tokens stop working. Cookies are deleted.',
  logoutAll: 'Ends this session and all others of the user. API keys go on.',
  getMe: 'Returns who is logged in, as the claims of OpenID Connect. It works while the password must be changed.',
  whoAmI: 'Returns whose session or API key this is, until when it lasts, and what it may do now.',
  getPasskeyLoginOptions:
    'Returns options for `navigator.credentials.get()`. The challenge works once, for five minutes, in this tenant. No name is asked for. With `rp_id`, one of `former_rp_ids`, they are for passkeys of a former host.',
  getRelatedOrigins:
    'For browsers, which ask the host of a passkey whether the page of another one may use it. A former host of a renamed tenant answers with the present origin.',
  loginWithPasskey:
    'Takes what `navigator.credentials.get()` gave, as JSON, and answers as a login with a password does. It counts as two factors, because the device verifies its user. Whatever is wrong is answered alike.',
  getPasskeyCreationOptions:
    'Returns options for `navigator.credentials.create()`. The challenge works once, for five minutes, in this session.',
  registerPasskey:
    'Takes what `navigator.credentials.create()` gave, as JSON. Without `name` the passkey is called as the device. The user gets a mail.',
  listPasskeys: 'Returns all of them, newest first; there are 20 at most.',
  renamePasskey: 'The name is for its owner alone.',
  removePasskey:
    'It logs nobody in any more, and the user gets a mail. The last passkey of a user without a password cannot be removed.',
  requestEmailLogin:
    'Where the setting `email_login` is on. The answer is the same whether or not somebody has the address or name. A new request ends the one before it. `request_token` goes with the code, and with a link that is opened where it was asked for.',
  verifyEmailLogin:
    'Takes the `code` with the `request_token` of its request, or the `token` of the link, and answers as a login with a password does. A link without its `request_token` answers `confirmation_required`, and for whom and where it was asked; send it again with `confirm: true`. Either works once, for ten minutes; five wrong codes end both, and count as wrong passwords do.',
  loginWithProvider:
    'Takes the ID token that an app got from the provider, and the nonce with which the app asked for it, and answers as a login with a password does. Each token works once. Whatever is wrong is answered alike. On pages the same begins at `/login/external/{provider}`.',
  listIdentities: 'Returns all of them, newest first; there are 20 at most.',
  linkIdentity: 'Takes an ID token as a login does. The user gets a mail. An identity of somebody else is `already_exists`.',
  unlinkIdentity: 'It logs nobody in any more, and the user gets a mail. The last way in cannot be removed.',
  updateMe:
    'Fields that are left out stay, `null` empties one (RFC 7396), and preferences are merged key by key. The `ETag` is that of `users/me`.',
  exportMe:
    'Returns what every table has of the user, without hashes and secrets, and what they did. It is recorded, and given ten times an hour.',
  getMyAvatar:
    'Answers a WebP of 256 or 64 pixels; where there is no picture, the initials as an SVG on a colour of the `sub`. Browsers keep it, and ask with `If-None-Match` before each use.',
  setMyAvatar:
    'Send the bytes of the image as the body. What it is, its first bytes say. It is cut to a square and made anew, without what the camera noted. Animations are refused.',
  deleteMyAvatar: 'Its files are deleted after the answer.',
  getUserAvatar:
    'Like `auth/me/avatar`, of a user whom the caller can read. An `img` on a page of the tenant shows it by its cookie.',
  setUserAvatar: 'Takes what `auth/me/avatar` takes.',
  deleteUserAvatar: 'Its files are deleted after the answer.',
  requestErasure:
    'Seven days later the user is erased, and their entries in the audit are those of a former user. Until then they log in as before.',
  getErasure: 'Returns who asked for it, and when it will be done.',
  cancelErasure: 'Nothing was erased then. What an administrator asked for, only an administrator cancels.',
  cancelErasureByToken: 'The token from the mail works once, until the user is erased.',
  impersonateUser:
    'Needs a login of the last 10 minutes, and everything that the user holds, there where they hold it. Returns an access token of the user whose `act` names the caller, and no refresh token; it ends within 30 minutes, with the session of the caller, by `auth/logout` with it, or when either ends the session. In it no credential is made or changed, and nothing that asks for a fresh login is done. The audit names both.',
  requestUserErasure:
    'The user is told by mail. With `now` it is done within minutes. It takes the power that the user has over others, and the reason stays.',
  cancelUserErasure: 'What the user asked for themselves, only they cancel.',
  requestPasswordReset: 'The answer is the same whether or not somebody has the address.',
  confirmPasswordReset: 'The token from the mail works once and for a limited time.',
  resetPassword: 'The same as `users/{id}/reset-password`, with the user in the body.',
  verifyEmail: 'The token from the mail works once. The user of a registration can log in afterwards.',
  resendVerification: 'The answer is the same whether or not a verification is pending.',
  requestEmailChange: 'Sends a token to the new address and a note to the current one. Send the token to `auth/verify-email`.',
  sendPhoneCode: 'Sends six digits, which work once.',
  verifyPhone: 'A code works once; after five wrong tries a new one has to be sent.',
  register: 'Nothing tells whether the address is registered already: in that case its owner gets a mail that says so.',
  resetUserPassword:
    'Sessions of the user end, and they must change the password at the next login. A generated password is in the answer, once.',
  resetUserFactors:
    'For somebody who lost the phone and has no backup codes. They log in with the password alone then, and are told by mail. It takes every permission that they hold.',
  unlockUser: 'Lets a user log in again whom failed logins have locked.',
  resetTenantUserPassword:
    'For a tenant whose administrators cannot log in any more. The user is named by id or by e-mail address.',
  listSessions:
    'Returns open sessions with their device, place and last use. `is_current` marks the one that asks; on a `remembered` device logins need no second factor.',
  listLogins: 'Returns when, from where and on which device somebody tried to log in, newest first.',
  endSession: 'Its tokens stop working with the next request, and its device is remembered no more.',
  listUserSessions: 'Returns the open sessions of a user whom the caller can access.',
  listUserLogins: 'Returns the logins of a user whom the caller can access, newest first.',
  endUserSessions: 'Logs a user out everywhere. API keys go on.',
  createApiKey:
    'A key can do no more than its owner, and no more than the permissions that it is given. Only its hash is stored: keep `key`.',
  listApiKeys: 'Returns the keys of the caller, with their prefix and last use, newest first.',
  getApiKey: 'Returns a key of the caller without its secret.',
  updateApiKey: 'Fields that are left out stay. A key that has expired or was rotated cannot be updated.',
  rotateApiKey: 'Returns a new key with the same name, permissions, addresses and lifetime. Both work during the overlap.',
  revokeApiKey: 'The key stops working with the next request, and stays in the list.',
  listUserApiKeys: 'Returns the keys of a user whom the caller can access, without their secrets.',
  revokeUserApiKey: 'The key stops working with the next request.',
  listUsers: 'Returns the users within the scope of the permission: all, those of a department or team, or the caller alone.',
  createUser:
    'Without `password` one is generated and returned once, as `initial_password`. The user must change it at the first login.',
  getCurrentUser: 'Returns the record of the caller, with the `ETag` that an update takes.',
  importUsers:
    'Takes a line for each user and answers a line for each, then a summary. A user who exists is reported as a duplicate, so that the same file can be sent again. `dry_run=true` checks and creates nothing.',
  getUser: 'Returns a user whom the caller can access; others are `not_found`.',
  replaceUser: 'Sets every editable field: those that are left out are emptied.',
  updateUser:
    'Fields that are left out stay, `null` empties one (RFC 7396), and preferences are merged key by key. Nobody changes a user who may do more than they.',
  deleteUser: 'Nothing is erased: the record, its history and its audit stay, and the user can be reactivated.',
  deactivateUser: 'The user can no longer log in, and their sessions and API keys stop working with the next request.',
  reactivateUser: 'The user can log in again.',
  listUserReports: 'Returns those whose `manager_id` is this user, and their depth below them.',
  explainPermissions:
    'Returns each permission with its scope and all reasons for it: roles, inheritance, delegations, overrides.',
  checkPermissions:
    'Answers in the order of the questions, for the caller or another user, also for a resource of somebody, and with `at` for a past moment. Nothing is cached: what was revoked is denied at once.',
  listPermissionHolders: 'Returns who holds it, in which scope and why.',
  listPermissions: 'Returns the permissions of the tenant: those of Freehold and its own.',
  createPermission: 'Adds a permission of the tenant, as `document:approve`. Grant it to roles afterwards.',
  getPermission: 'Returns one permission by its id.',
  updatePermission: 'Only its description can change: the name is its identity.',
  deletePermission: 'Refused with `in_use`, which says where, while a role or an override has it.',
  listOverrides: 'Returns what this user is granted or denied beside their roles.',
  createOverride: 'A denial wins over every role. Both end at `ends_at`, or when they are ended.',
  endOverride: 'Ends it now; the history keeps it.',
  listRoles: 'Returns the roles with their own permissions.',
  createRole: 'Nobody can give a role more than they hold themselves.',
  getRole: 'Returns its own permissions and those that it inherits from its parents.',
  replaceRole: 'Fields that are left out get their defaults, permissions that are left out end.',
  updateRole: 'Fields that are left out stay; `permissions`, if given, replaces all of them.',
  deleteRole: 'Refused with `in_use`, which says where, while it is assigned, inherited or delegated.',
  addRolePermissions: 'Adds these to those that it has; one that it has in another scope changes to the scope given.',
  removeRolePermission: 'Ends the permission now for everybody who holds the role.',
  listRoleUsers: 'Returns users with this role whom the caller can access.',
  listUserRoles: 'Returns since when, until when and by whom each role was assigned.',
  assignUserRole: 'From `starts_at`, or now, until `ends_at`, or until it is removed.',
  removeUserRole: 'Ends the assignment now. The last administrator keeps their role.',
  listDelegations: 'Returns delegations that the caller made, received, or may see.',
  createDelegation:
    'Somebody else acts with a role or permissions of the caller, until `ends_at`. It is pending where the settings ask for approval.',
  findSubstitute: 'Follows delegations from one user to the next and returns the chain.',
  getDelegation: 'Returns one delegation and its state.',
  approveDelegation: 'It takes effect now, or at `starts_at`.',
  rejectDelegation: 'It never takes effect.',
  revokeDelegation: 'It has no effect from the next request on.',
  ...events,
  ...people,
  listActivities: 'Filter by user, type, resource and time. What the caller may not see is left out.',
  createActivity:
    'A service records what somebody did there, under the trace id of this request. It becomes part of the chain of hashes.',
  exportActivities: 'Filters are those of the list. The export is recorded.',
  getActivity: 'Returns who did what, from where, and what was there before and after.',
  listCheckpoints:
    'A checkpoint holds the hash of all activities since the one before it, so that none can be changed or cut off unseen.',
  listUserActivities: 'Returns what this user did, in the scope of the permission.',
  getSettings: 'Returns the settings with their `ETag`.',
  updateSettings:
    'Fields that are left out stay, and `null` takes one of the `links` away. A setting takes effect with the next request.',
  listProviders: 'Returns all of them with their settings, without secrets; there are 20 at most.',
  createProvider:
    'What a provider says decides who logs in: to link by e-mail, or to trust its addresses or second factors, needs every permission at scope `all`. Register `/login/external/{name}/callback` of the tenant there.',
  getProvider: 'Returns a provider without the secret of its client.',
  updateProvider: 'Fields that are left out stay. Name, type, issuer and client never change: add another provider.',
  deleteProvider: 'Refused with `in_use` while users log in with it: disable it instead.',
  setLogo:
    'Send the bytes of the image as the body. What it is, its first bytes say: they must be of the type in `Content-Type`. The logo before it is replaced.',
  deleteLogo: 'Pages then show the name of the tenant.',
  getLogo: 'Pages of any origin may show it. Caches may keep it for five minutes.',
  getUsage: 'Returns limits of the plan or license, and how much of each is used now.',
  countDocuments: 'All of them or none: beyond the limit the answer is `limit_reached`, also for many requests at once.',
  getJwks:
    'A JSON Web Key Set (RFC 7517) to verify tokens with. Keep it for as long as `Cache-Control` says, and read it again for an unknown `kid`.',
  getAuthorizationServer: 'Says what the tenant offers, and nothing else. OAuth clients find every address here.',
  getOpenIdConfiguration: 'Says what the tenant offers, and nothing else. There are no ID tokens.',
  getToken:
    'Refreshes in every tenant, and takes a password where `password_grant` is on. `resource` asks for a token for a registered API. Unknown parameters are ignored; one that is there twice is refused.',
  introspectToken:
    'Of RFC 7662. A token that has expired, was never one, or is not for the caller to know is `{"active": false}`. An API key may also be the secret in HTTP Basic.',
  revokeToken:
    'Of RFC 7009. Whoever holds a token may end it. What is not valid is answered as if it had been; a token for an API is `unsupported_token_type`.',
  getUserInfo: 'Of OpenID Connect Core, section 5.3.',
  postUserInfo: 'The same as by GET.',
  listAudiences: 'Returns every API that the tenant has registered.',
  createAudience:
    'Tokens that are asked for with this `resource` have the identifier as `aud`: this API takes them, and Freehold and others refuse them.',
  getAudience: 'Returns an API with what its tokens carry.',
  updateAudience: 'Fields that are left out stay. The identifier never changes.',
  deleteAudience: 'No further token is for it.',
  createTenant:
    'Answers 202 while the database is made; follow `Location`. With `Prefer: wait=30` it answers 201 once the tenant can be used.',
  adoptTenant:
    'Freehold lives in schemas of its own, beside what the database has. What it finds and does not adopt is refused, with the statements to run in `errors`.',
  setTenantConnection: 'The new login is tried before it is stored.',
  listTenants: '`search` finds a part of the subdomain, of a former one, of the legal name or of the tax id.',
  getTenant: 'Returns the tenant as the registry has it, and asks its database what it uses.',
  updateTenant: 'A new `subdomain` takes effect at once; the former one says for 30 days where the tenant is.',
  deleteTenant: 'A deleted tenant keeps its data until it is restored or erased. An erasure ends with a signed certificate.',
  getTenantDrift: 'Compares tables, functions, policies and grants with those that the migrations make.',
  retryTenant: 'Goes on with the step that failed; what was made is found again and not made twice.',
  activateTenant: 'Its users can log in again.',
  deactivateTenant: 'No request of the tenant succeeds from now on; nothing is deleted.',
  restoreTenant: 'A tenant that was deleted, and not erased, is active again with all that it had.',
  rotateTenantKeys: 'Former keys are accepted as long as the answer says, so that nothing fails meanwhile.',
  getProvisioning: 'Returns the steps with their state, attempts and errors.',
  followProvisioning: 'A stream for a page that shows progress. It ends after five minutes; open it again with `Last-Event-ID`.',
  resumeMigration: 'Tenants that are done stay as they are.',
  getMigrationPlan: 'Shows what `POST /platform/v1/migrations` would do, and changes nothing.',
  startMigration: 'One run at a time. It stops by itself when more than `stop_percent` of the tenants fail.',
  listMigrations: 'Returns runs with the number of their tenants in each state.',
  getMigration: 'Returns how far the run is, and why it stopped.',
  followMigration: 'A stream for a page that shows progress. It ends after five minutes; open it again with `Last-Event-ID`.',
  listMigrationTenants: 'Returns for each tenant its state, the step that failed and the drift that was found.',
  undoMigration: 'What was written since the migration is lost; it is refused unless nothing was, or `discard_writes` is true.',
  getMigrationUndo: 'Counts for each table the rows that were written since the migration.',
  moveTenant: 'The tenant is read as ever meanwhile; for seconds at the end requests that write are answered 503.',
  getTenantMove: 'Returns the newest move, its steps, and until when the former database is kept.',
  createRestorePoint: 'Makes a copy of the tenant as it was then, and compares it with now. Confirm it to restore, or delete it.',
  getRestorePoint: 'Returns how far it is, and the people, roles and settings that differ.',
  listRestorePoints: 'Returns past ones, too, with what became of each.',
  confirmRestore: '`confirm` repeats the subdomain.',
  undoRestore: '`confirm` repeats the subdomain. Possible for a week after the restore.',
  deleteRestorePoint: 'Removes the copy. The tenant is not touched.',
  rotateSigningKey: 'Answers 202 while the new key is not known everywhere; it signs once it is.',
  rotateCredentials: 'Answers at once; follow it under `Location`.',
  getCredentialRotation: 'Returns its step, and until when the former logins work.',
  getKeyIds: 'Ask it before ENCRYPTION_KEYS is rotated, and before a key is taken away. Of many Workers one answers.',
  getErasureCertificate:
    'A signed statement (JWS) of what was destroyed, which anybody can verify with the keys of the platform.',
  listLicenses: 'Returns past, current and future licenses with their limits.',
  createLicense: 'Limits of a license win over those of the plan.',
  endLicense: 'For a license that ends early. Its history stays.',
  deleteLicense: 'For a license that was given by mistake.',
  listPlans: 'Returns plans with the number of tenants that have each.',
  createPlan: 'A plan is named by its key, which never changes.',
  getPlan: 'Returns its limits, and how many tenants have it.',
  updatePlan: 'Fields that are left out stay. Tenants hear of it at once or by the scheduled job.',
  deletePlan: 'Refused with `in_use` while a tenant has it.',
  examine: 'Nothing is changed. Each finding says what it is, where, and whether it can be fixed.',
  fixFinding: 'It is looked at again before anything is changed.',
  removeFinding: 'For what was left at Neon and nobody uses. It cannot be undone.',
  getAnalytics: 'Counts come from what the tenants report each day.',
  getTenantUsage: 'What could not be asked is named in `missing`, and the rest is answered.',
}
