/**
 * Faults, each with the test that must notice it. They are planted one at a time (plant.ts) by planted.node.test.ts, and list.node.test.ts
 * sees that the text of each is still there.
 */

export type Fault = {
  /** What is wrong then. */
  name: string
  file: string
  /** What stands in the file exactly once, and what stands there instead. */
  text: string
  becomes: string
  /** The file of tests that is run, and how the name of a test of it begins or goes on that must fail. */
  noticed: [file: string, test: string]
}

export const FAULTS: Fault[] = [
  // access: who is admitted, and how far.
  {
    name: 'the signature of claims counts on another connection',
    file: 'src/access/claims.sql',
    text: "return claims || '|' || pg_backend_pid() || '|' ||",
    becomes: "return claims || '|' ||",
    noticed: ['test/access/no-admission.test.ts', 'a seal copied to another connection'],
  },
  {
    name: 'the id of a session is enough to be admitted',
    file: 'src/access/admission.sql',
    text: "      or credential ->> 'proof' is distinct from access.proof_of(secret, s.id)\n",
    becomes: '',
    noticed: ['test/access/attack.test.ts', 'becomes nobody else by the id of a session'],
  },
  {
    name: 'a session that has ended goes on',
    file: 'src/access/admission.sql',
    text: '  elsif s.ended_at is not null\n    or s.expires_at <= now()\n',
    becomes: '  elsif s.expires_at <= now()\n',
    noticed: ['test/sessions/sessions.test.ts', 'are ended one by one: the next request with it is refused'],
  },
  {
    name: 'the database of another tenant answers',
    file: 'src/access/admission.sql',
    text: 'if t.id is distinct from tenant_id then',
    becomes: 'if false then',
    noticed: ['test/tenants/registry.test.ts', 'that points at another’s database, rightly encrypted, ends in the right one'],
  },
  {
    name: 'a temporary password lets in everywhere',
    file: 'src/access/admission.sql',
    text: 'elsif k.id is null and not any_password and access.must_change(u, t) then',
    becomes: 'elsif false then',
    noticed: ['test/auth/password-change.test.ts', 'opens me, logout and the change alone'],
  },
  {
    name: 'an API key works from any address',
    file: 'src/access/admission.sql',
    text: 'where here <<= a.network::inet)',
    becomes: 'where true)',
    noticed: ['test/api-keys/attack.test.ts', 'lets in who comes from it in any form'],
  },
  {
    name: 'who hands out a permission need not hold it',
    file: 'src/access/handing-out.sql',
    text: 'perform access.require_key_permission(permissions), access.user_must_hold(permissions, scopes, receivers);',
    becomes: 'perform access.require_key_permission(permissions);',
    noticed: ['test/roles/handing-out.test.ts', 'by giving a role that carries it'],
  },
  {
    name: 'a grant begins in the past',
    file: 'src/access/handing-out.sql',
    text: "elsif starts < now() - interval '1 minute' then",
    becomes: "elsif starts < now() - interval '100 years' then",
    noticed: ['test/roles/handing-out.test.ts', 'and nothing begins or ends in the past'],
  },
  {
    name: 'anybody stands over anybody',
    file: 'src/access/over-others.sql',
    text: 'if access.principal() is null or coalesce(cardinality(others), 0) = 0 then',
    becomes: 'if true then',
    noticed: ['test/access/over-others.test.ts', 'cannot revoke the API key of who holds more'],
  },
  {
    name: 'anybody becomes anybody',
    file: 'src/access/over-others.sql',
    text: 'if access.principal() is null or access.principal() = subject or cardinality(wanted) = 0 then',
    becomes: 'if true then',
    noticed: ['test/access/over-others.test.ts', 'cannot change the username of who holds more, and'],
  },
  {
    name: 'a password is reset by who holds less',
    file: 'src/recovery/recovery.sql',
    text: '  perform access.require_all_of(subject);\n  if access.was_used',
    becomes: '  if access.was_used',
    noticed: ['test/access/over-others.test.ts', 'cannot reset the password of who holds more by statements'],
  },
  // audit
  {
    name: 'an entry of the audit can be deleted',
    file: 'src/audit/append-only.sql',
    text: `create trigger keep_all_entries before delete or truncate on freehold.audit_log
  for each statement execute function access.refuse_change();
`,
    becomes: '',
    noticed: ['test/audit/kept.test.ts', 'delete from freehold.audit_log'],
  },
  {
    name: 'a field of an export is a formula',
    file: 'src/audit/csv.ts',
    text: 'const safe = FORMULA.test(text)',
    becomes: 'const safe = text === FORMULA.source',
    noticed: ['test/audit/export.test.ts', 'runs in no spreadsheet'],
  },
  // auth
  {
    name: 'the lockout comes one failure late',
    file: 'src/auth/attempts.sql',
    text: 'when x.failures + times >= t.max_failures then',
    becomes: 'when x.failures + times > t.max_failures then',
    noticed: ['test/auth/lockout.test.ts', 'lock a person for 30 minutes'],
  },
  {
    name: 'a replayed refresh token ends no session',
    file: 'src/auth/refresh.sql',
    text: 'where x.id = s.id and x.ended_at is null;\n      perform access.record(',
    becomes: 'where false;\n      perform access.record(',
    noticed: ['test/auth/refresh.test.ts', 'from another device ends the session'],
  },
  {
    name: 'a token of any issuer counts',
    file: 'src/kernel/token.ts',
    text: '        issuer: party.url,\n',
    becomes: '',
    noticed: ['test/auth/refused-tokens.test.ts', 'another tenant’s iss'],
  },
  {
    name: 'a password is compared as it is written, without folding',
    file: 'src/passwords/guessable.ts',
    text: "return { as: STANDS_FOR.get(sign) ?? (is_letter ? sign : ''), is_letter }",
    becomes: "return { as: is_letter ? sign : '', is_letter }",
    noticed: ['test/passwords/guessable.test.ts', 'P@ssw0rd2026! is refused, and told why'],
  },
  {
    name: 'the name of the tenant is a password like any other',
    file: 'src/passwords/guessable.ts',
    text: 'const words = [...guessedWords(), ...namesOf(at)]',
    becomes: 'const words = guessedWords()',
    noticed: ['test/passwords/guessable.test.ts', 'Demo@2026 is refused, and told why'],
  },
  {
    name: 'the first administrator’s password is judged as if the tenant had no name',
    file: 'src/tenants/provisioning/new-tenant.ts',
    text: 'const at = { subdomain, legal_name, url',
    becomes: "const at = { subdomain: null, legal_name: '', url",
    noticed: ['test/tenants/preset-settings.test.ts', 'has a password by the rules of the preset'],
  },
  {
    name: 'a breached password is taken',
    file: 'src/passwords/policy.ts',
    text: 'policy.password_breached && (await isBreached(ctx, password))',
    becomes: 'policy.password_breached && !ctx',
    noticed: ['test/passwords/breached.test.ts', 'is refused when it is changed'],
  },
  {
    name: 'a whole hash is sent to the list of breached passwords',
    file: 'src/passwords/breached.ts',
    text: 'range(config.PWNED_PASSWORDS_URL, hash.slice(0, 5))',
    becomes: 'range(config.PWNED_PASSWORDS_URL, hash)',
    noticed: ['test/passwords/breached.test.ts', 'is looked up by the first five digits'],
  },
  {
    name: 'padding counts as a breached password',
    file: 'src/passwords/breached.ts',
    text: 'return Number(count ?? 0) > 0',
    becomes: 'return count !== undefined',
    noticed: ['test/passwords/breached.test.ts', 'is padding where its count is 0'],
  },
  {
    name: 'a step that is tried again sets the settings of the preset anew',
    file: 'src/tenants/provisioning/seed.ts',
    text: ') on conflict do nothing`,\n    sql`select 1 /',
    becomes: ') on conflict (one) do update set password_days = excluded.password_days`,\n    sql`select 1 /',
    noticed: ['test/tenants/preset-settings.test.ts', 'what was changed since is left alone'],
  },
  {
    name: 'the metadata offers the password grant to everybody',
    file: 'src/auth/discovery.ts',
    text: "grant_types_supported: password_grant ? ['password'] : []",
    becomes: "grant_types_supported: ['password']",
    noticed: ['test/auth/password-grant.test.ts', 'is not offered by a new tenant'],
  },
  {
    name: 'the secret of a client in HTTP Basic is ignored',
    file: 'src/auth/routes.ts',
    text: 'if (encoded !== undefined && !isIdAlone(encoded))',
    becomes: 'if (encoded === null)',
    noticed: ['test/auth/password-grant.test.ts', 'is refused in HTTP Basic with an id'],
  },
  {
    name: 'a password that was used before may be used again',
    file: 'src/auth/passwords.sql',
    text: 'limit t.password_history',
    becomes: 'limit 1',
    noticed: ['test/settings/settings.test.ts', 'is none of the last five'],
  },
  // delegations
  {
    name: 'a delegation that has ended goes on',
    file: 'src/access/delegated.sql',
    text: `        and access.in_force(x.starts_at, x.ends_at, moment)
        and x.decision = 'approved'
`,
    becomes: "        and x.decision = 'approved'\n",
    noticed: ['test/delegations/delegations.test.ts', 'begins when it says, and ends by itself'],
  },
  {
    name: 'a delegate takes over the account of the delegator',
    file: 'src/recovery/recovery.sql',
    text: "elsif access.scope() <> 'all' and u.id = any (access.scope_owner_ids()) then",
    becomes: 'elsif false then',
    noticed: ['test/delegations/delegations.test.ts', 'lets its delegate set no password of the delegator'],
  },
  {
    name: 'who gains from a delegation approves it',
    file: 'src/delegations/delegations.sql',
    text: 'where s.holder not in (old.delegator_id, old.delegate_id)',
    becomes: 'where true',
    noticed: ['test/delegations/delegations.test.ts', 'neither of the two decides'],
  },
  // http
  {
    name: 'a page of any origin logs its visitor in',
    file: 'src/http/cors.ts',
    text: `  const origin = request.headers.get('Origin')
  if (origin !== null && !origins.includes(origin))`,
    becomes: "  const origin = request.headers.get('Origin')\n  if (origin === '' && !origins.includes(origin))",
    noticed: ['test/http/cors.test.ts', 'no page of https://evil.test decides'],
  },
  {
    name: 'a body of any size is read under /auth',
    file: 'src/http/body.ts',
    text: 'const small = refusing(16 * KIB,',
    becomes: 'const small = refusing(16 * KIB * KIB,',
    noticed: ['test/http/before-bodies.test.ts', 'that says its length nothing is read'],
  },
  {
    name: 'attempts have no limit',
    file: 'src/http/rate-limit.ts',
    text: 'if (!success) throw tooMany(PERIOD_MS)\n  await next()',
    becomes: 'if (success === null) throw tooMany(PERIOD_MS)\n  await next()',
    noticed: ['test/http/before-bodies.test.ts', 'of a request beyond a rate limit'],
  },
  {
    name: 'cookies are for parents and siblings, too',
    file: 'src/http/cookies.ts',
    text: "(kind: 'a' | 'r', account: string) => `__Host-fh_",
    becomes: "(kind: 'a' | 'r', account: string) => `fh_",
    noticed: ['test/auth/cookies.test.ts', 'takes two round trips and answers with no token, but two cookies of this host'],
  },
  {
    name: 'a page of a sibling uses the cookies of its visitor',
    file: 'src/http/cookies.ts',
    text: "!['cross-site', 'same-site'].includes(site) : origin === own) return",
    becomes: "!['cross-site', 'same-site'].includes(site) : origin !== '') return",
    noticed: ['test/auth/cookies.test.ts', 'that changes something and names a sibling’s page is refused'],
  },
  // kernel
  {
    name: 'a secret opens for another field',
    file: 'src/kernel/keyring.ts',
    text: 'const bound = (tenant_id: string, field: string)',
    becomes: "const bound = (tenant_id: string, _: string, field = '')",
    noticed: ['test/kernel/keyring.test.ts', 'does not open for another tenant, another field'],
  },
  // mail
  {
    name: 'a late answer of an older attempt decides',
    file: 'src/mail/mail.sql',
    text: "if m.state <> 'queued' or (r.outcome <> 'accepted' and m.attempts <> r.attempts) then",
    becomes: "if m.state <> 'queued' then",
    noticed: ['test/mail/delivery.test.ts', 'and is refused, changes nothing of a mail that another holds'],
  },
  {
    name: 'a mail that a server took is recorded once or never',
    file: 'src/mail/delivery.ts',
    text: 'finish(realm, [result]).catch(() => finish(realm, [result]))',
    becomes: 'finish(realm, [result])',
    noticed: ['test/mail/delivery.test.ts', 'is sent once and on record, though the database does not hear of it'],
  },
  {
    name: 'a recipient gets one mail too many',
    file: 'src/mail/limits.sql',
    text: '  ) > most or (\n',
    becomes: '  ) > most + 1 or (\n',
    noticed: ['test/mail/limits.test.ts', 'gets five mails of twenty resets at once'],
  },
  // recovery
  {
    name: 'an unknown address is answered sooner',
    file: 'src/recovery/recovery.ts',
    text: 'const PADDED_MS = 150',
    becomes: 'const PADDED_MS = 0',
    noticed: ['test/recovery/padded.test.ts', 'waits as long for an address that is known'],
  },
  {
    name: 'the password of a stranger’s registration counts',
    file: 'src/recovery/verification.sql',
    text: '      and x.secret_hash = finish_verification.secret_hash\n',
    becomes: '',
    noticed: ['test/recovery/attack-ownership.test.ts', 'does not get the account'],
  },
  {
    name: 'a mailed token is spent twice',
    file: 'src/recovery/tokens.sql',
    text: '    and k.used_at is null\n    and k.expires_at > now()\n',
    becomes: '    and k.expires_at > now()\n',
    noticed: ['test/recovery/password-reset.test.ts', 'works once, also when twenty show it at once'],
  },
  {
    name: 'a mailed token never expires',
    file: 'src/recovery/tokens.sql',
    text: '    and k.expires_at > now()\n',
    becomes: '',
    noticed: ['test/recovery/password-reset.test.ts', 'is good for an hour, and not for a second more'],
  },
  {
    name: 'a generated password need not be changed',
    file: 'src/recovery/recovery.ts',
    text: 'if (new_password === undefined && !must_change_password)',
    becomes: 'if (false)',
    noticed: ['test/recovery/by-administrator.test.ts', 'without one must be changed: no flag turns that off'],
  },
  // first passwords
  {
    name: 'a first password lets in for ever',
    file: 'src/auth/login.sql',
    text: 'if access.first_password_expiry(u.id, t) <= now() then',
    becomes: 'if false then',
    noticed: ['test/auth/first-password.test.ts', 'works for 72 hours, says so, and then opens nothing'],
  },
  {
    name: 'a session that a first password opened makes it last',
    file: 'src/auth/passwords.sql',
    text: 'elsif access.first_password_expiry(u.id, t) <= now() then',
    becomes: 'elsif false then',
    noticed: ['test/auth/first-password.test.ts', 'works for 72 hours, says so, and then opens nothing'],
  },
  {
    name: 'a password that an administrator sets is nobody’s first',
    file: 'src/auth/passwords.sql',
    text: 'values (gen_random_uuid(), subject, new_hash, must_change);',
    becomes: 'values (gen_random_uuid(), subject, new_hash, false);',
    noticed: ['test/auth/first-password.test.ts', 'works for 72 hours, says so, and then opens nothing'],
  },
  {
    name: 'a new user’s first password need not be changed',
    file: 'src/users/login-details.sql',
    text: ' and u.must_change_password)',
    becomes: ')',
    noticed: ['test/auth/first-password.test.ts', 'nobody makes a user whose first password need not be changed'],
  },
  // settings
  {
    name: 'settings that contradict each other are taken',
    file: 'src/settings/settings.sql',
    text: '  perform access.check_settings(old, new);\n',
    becomes: '',
    noticed: ['test/settings/contradictions.test.ts', 'also of two requests at once'],
  },
  {
    name: 'minutes of idle time count for nothing',
    file: 'src/settings/settings.sql',
    text: 'return coalesce(make_interval(mins => t.idle_minutes), make_interval(days => t.idle_days));',
    becomes: 'return make_interval(days => t.idle_days);',
    noticed: ['test/sessions/lifetime.test.ts', 'has ended after them'],
  },
  // sessions: how long a token says that it works.
  {
    name: 'an access token outlives its session',
    file: 'src/kernel/token.ts',
    text: 'Math.min(iat + minutes * 60, end)',
    becomes: 'iat + minutes * 60',
    noticed: ['test/sessions/lifetime.test.ts', 'of a login expires with its session'],
  },
  // roles
  {
    name: 'the last administrator takes it from themselves',
    file: 'src/roles/roles.sql',
    text: '  if r.id is not null\n    and not (\n      r.is_active\n',
    becomes: '  if r.id is null\n    and not (\n      r.is_active\n',
    noticed: ['test/roles/handing-out.test.ts', 'so the last one keeps the role, for good and undenied'],
  },
  // sessions
  {
    name: 'anybody reads when somebody logged in',
    file: 'src/sessions/sessions.sql',
    text: "    and (subject = access.principal() or (access.permission() = 'session:read' and access.can_access_user(subject)))\n",
    becomes: '',
    noticed: ['test/recovery/by-sql.test.ts', 'nobody’s logins are read'],
  },
  {
    name: 'who may see sessions ends them',
    file: 'src/sessions/sessions.sql',
    text: "(select access.permission()) = 'session:delete'",
    becomes: "(select access.permission()) like 'session:%'",
    noticed: ['test/recovery/by-sql.test.ts', 'nobody’s logins are read'],
  },
  {
    name: 'the app login writes a column too many',
    file: 'src/sessions/sessions.sql',
    text: 'grant select, update (ended_at, ended_because) on',
    becomes: 'grant select, update (ended_at, ended_because, expires_at) on',
    noticed: ['test/access/catalogue.test.ts', 'the app may read and write exactly these of freehold'],
  },
  // tenants
  {
    name: 'a new tenant is not looked at after its public functions were called',
    file: 'src/tenants/provisioning/verify-isolation.ts',
    text: "    seesNobody('after a public endpoint'),\n",
    becomes: '',
    noticed: ['test/tenants/verify-isolation.test.ts', 'finds that access.record_refusal leaves its caller admitted'],
  },
  {
    name: 'an entry of KV that does not open switches its tenant off',
    file: 'src/tenants/registry/registry.ts',
    text: 'return { entry, realm: await decrypted(config, entry) }',
    becomes: 'return { entry, realm: await decrypted(config, entry).catch(() => null) }',
    noticed: ['test/tenants/registry.test.ts', 'whose database does not open is read from the master'],
  },
  {
    name: 'an older entry of KV replaces a newer one',
    file: 'src/tenants/registry/registry.ts',
    text: "entry.status !== 'active' || entry.v < floor) return null",
    becomes: "entry.status !== 'active') return null",
    noticed: ['test/tenants/registry.test.ts', 'is not replaced by an older entry'],
  },
  // what the network sees
  {
    name: 'a cursor of one list goes on in another',
    file: 'src/kernel/cursor.ts',
    text: 'const fieldOf = (name: string) =>',
    becomes: "const fieldOf = (_: string, name = 'any') =>",
    noticed: ['test/kernel/cursor.test.ts', 'goes on in no other realm, list or order'],
  },
  {
    name: 'a cursor is encrypted under the refresh key itself',
    file: 'src/kernel/cursor.ts',
    text: "return [{ id: 'c', key: new Uint8Array(await crypto.subtle.deriveBits(hkdf, secret, 256)) }]",
    becomes: "return [{ id: 'c', key: raw }]",
    noticed: ['test/kernel/cursor.test.ts', 'has a key of its own'],
  },
  {
    name: 'the connection string follows a redirect',
    file: 'src/kernel/db.ts',
    text: "redirect: 'manual', signal",
    becomes: 'signal',
    noticed: ['test/kernel/redirects.test.ts', 'of a database is a database that does not answer'],
  },
  {
    name: 'the key of Neon’s API follows a redirect',
    file: 'src/tenants/provisioning/neon.ts',
    text: "{ ...init, redirect: 'manual' }",
    becomes: 'init',
    noticed: ['test/kernel/redirects.test.ts', 'of Neon’s API is a failed call'],
  },
  {
    name: 'a call on plain http is redirected with all that it carries',
    file: 'src/http/transport.ts',
    text: "if (!['GET', 'HEAD'].includes(raw.method) || !isPage(c.req.path)) throw",
    becomes: "if (raw.method === '') throw",
    noticed: ['test/http/transport.test.ts', 'is refused at every route'],
  },
  {
    name: 'a connection of TLS 1.1 is answered',
    file: 'src/http/transport.ts',
    text: '/^(SSLv\\d|TLSv1(\\.[01])?)$/',
    becomes: '/^(SSLv\\d|TLSv1)$/',
    noticed: ['test/http/transport.test.ts', 'of TLSv1.1 is refused'],
  },
  {
    name: 'a key of zeros encrypts in production',
    file: 'src/kernel/config.ts',
    text: 'ENCRYPTION_KEYS.some(is_guessable)',
    becomes: 'ENCRYPTION_KEYS.every(is_guessable)',
    noticed: ['test/kernel/config.test.ts', 'a key of zeros is refused by name'],
  },
  {
    name: 'an answer may be shown inside a foreign page',
    file: 'src/http/headers.ts',
    text: "default-src 'none'; frame-ancestors 'none'",
    becomes: "default-src 'none'",
    noticed: ['test/http/headers.test.ts', 'of every route'],
  },
  // what strangers fail at, and what is limited
  {
    name: 'a user asks as much as they like',
    file: 'src/http/admit.ts',
    text: '    await limitPrincipal(c, caller)\n',
    becomes: '',
    noticed: ['test/http/refusal-limits.test.ts', 'asks 600 times a minute and no more'],
  },
  {
    name: 'an invented key counts as no failure',
    file: 'src/http/admit.ts',
    text: '    await failures?.count(c.error)\n',
    becomes: '',
    noticed: ['test/http/refusal-limits.test.ts', 'API keys meets a 429'],
  },
  {
    name: 'an unknown key is as honest as a revoked one',
    file: 'src/access/admission.sql',
    text: "errcode = case when k.id is null then 'FH40G' else 'FH401' end,",
    becomes: "errcode = 'FH401',",
    noticed: ['test/http/refusal-limits.test.ts', 'API keys meets a 429'],
  },
  {
    name: 'an invented token counts as no failure',
    file: 'src/http/admit.ts',
    text: '      await failures.count(error)\n',
    becomes: '',
    noticed: ['test/http/refusal-limits.test.ts', 'access tokens meets a 429'],
  },
  {
    name: 'a valid token is refused where others are invented',
    file: 'src/http/admit.ts',
    text: '  try {\n    return await verifyReloaded(',
    becomes: "  failuresOf(c, 'token').refuse()\n  try {\n    return await verifyReloaded(",
    noticed: ['test/http/refusal-limits.test.ts', 'tokens goes on with those that are valid'],
  },
  {
    name: 'a name that nobody has is asked for without end',
    file: 'src/tenants/registry/registry.ts',
    text: '  if (!fresh && !kept && !known) sources.limitUnknown?.()\n',
    becomes: '',
    noticed: ['test/http/refusal-limits.test.ts', 'is asked for 60 times a minute by a network and no more'],
  },
  {
    name: 'a name is not found for a while though it was given meanwhile',
    file: 'src/tenants/registry/registry.ts',
    text: '  if (given !== before) return\n',
    becomes: '',
    noticed: ['test/tenants/registry.test.ts', 'again about a name that was given here while it was asked for'],
  },
  {
    name: 'whoever asks whether the Worker is ready queries the master',
    file: 'src/http/ready.ts',
    text: 'while (!isWithin(FRESH_MS, mine.at)) {',
    becomes: 'while (true) {',
    noticed: ['test/http/refusal-limits.test.ts', 'asks once for twenty at once'],
  },
  {
    name: 'a stranger fills the audit',
    file: 'src/audit/failures.sql',
    text: '  if not is_stranger or so_far <= 20 then',
    becomes: '  if true then',
    noticed: ['test/audit/failures.test.ts', 'are entries up to the twentieth of a network and hour'],
  },
  {
    name: 'what was counted is dropped and not written',
    file: 'src/audit/failures.sql',
    text: "    if c.counts <> '{}' then",
    becomes: '    if false then',
    noticed: ['test/audit/failures.test.ts', 'one entry says how many there were'],
  },
  {
    name: 'a wrong password of a known person is only counted',
    file: 'src/auth/login.sql',
    text: "why, why in ('unknown', 'locked', 'rate_limited'),",
    becomes: 'why, true,',
    noticed: ['test/audit/failures.test.ts', 'a known person’s wrong password is an entry always'],
  },
  {
    name: 'refused tokens and keys are recorded nowhere',
    file: 'src/http/refusals.ts',
    text: "if (code === 'token_wrong_tenant' || (code === 'token_invalid' && (is_guess || key)))",
    becomes: "if (code === 'token_wrong_tenant')",
    noticed: ['test/audit/failures.test.ts', 'a token that another key signed'],
  },
  {
    name: 'a page of a foreign origin is recorded nowhere',
    file: 'src/http/refusals.ts',
    text: "return c.req.method === 'OPTIONS' ? null",
    becomes: 'return true ? null',
    noticed: ['test/audit/failures.test.ts', 'a page of a foreign origin'],
  },
  {
    name: 'what proves an erasure is erased',
    file: 'src/audit/append-only.sql',
    text: " and l.activity_type <> 'AUDIT_ERASED'\n",
    becomes: '\n',
    noticed: ['test/audit/kept.test.ts', 'never takes what proves an erasure'],
  },
  {
    name: 'an erasure that was told to name a detail excuses it',
    file: 'src/audit/verify.ts',
    text: 'DETAIL_HASH} = e.detail_hash union all',
    becomes: 'DETAIL_HASH} is not null union all',
    noticed: ['test/audit/failures.test.ts', 'a detail that no entry names is missed'],
  },
]
