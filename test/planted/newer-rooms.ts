/** Faults in notifications, risk, events, webhooks, hooks, competencies, employees, invitations and organizations: a part of faults.ts. */
import type { Fault } from './faults.ts'

export const IN_NEWER_ROOMS: Fault[] = [
  // notifications
  {
    name: 'a person reads what another is told',
    file: 'src/notifications/notifications.sql',
    text: '        where x.user_id = access.principal()\n          and x.is_listed\n          and (not is_unread',
    becomes: '        where x.is_listed\n          and (not is_unread',
    noticed: ['test/notifications/notifications.test.ts', 'is in their list, newest first'],
  },
  {
    name: 'a stream shows what others are told',
    file: 'src/notifications/notifications.sql',
    text: 'where x.user_id = access.principal() and x.is_listed and x.created_at > since',
    becomes: 'where x.is_listed and x.created_at > since',
    noticed: ['test/notifications/stream.test.ts', 'shows nothing of what others are told'],
  },
  {
    name: 'who wants no mails is not mailed that somebody has their password',
    file: 'src/notifications/notifications.sql',
    text: "event in ('suspicious_activity', 'login_refused')",
    becomes: "event in ('login_refused')",
    noticed: ['test/risk/risk.test.ts', 'the audit has the reasons, and the user is told'],
  },
  // risk
  {
    name: 'a login that was refused is the past of its user',
    file: 'src/risk/risk.sql',
    text: "      and r.outcome in ('allowed', 'passed')\n      and r.created_at",
    becomes: '      and r.created_at',
    noticed: ['test/risk/stopped.test.ts', 'is no past to compare with'],
  },
  {
    name: 'a login that was refused for its risk counts as no failure',
    file: 'src/risk/risk.sql',
    text: '  if guard is not null then\n    perform access.count_failures',
    becomes: '  if false then\n    perform access.count_failures',
    noticed: ['test/risk/stopped.test.ts', 'counts as a wrong password'],
  },
  {
    name: 'a risky refresh goes on',
    file: 'src/risk/risk.sql',
    text: "is_stopped := here.score >= t.risk_stop and t.risk_action <> 'none';",
    becomes: 'is_stopped := false;',
    noticed: ['test/risk/risk.test.ts', 'ends its session above the second threshold'],
  },
  // events
  {
    name: 'an entry is numbered while an older transaction still writes',
    file: 'src/audit/checkpoints.sql',
    text: 'where l.checkpoint is null and l.xid < pg_snapshot_xmin(pg_current_snapshot())::text::bigint',
    becomes: 'where l.checkpoint is null',
    noticed: ['test/events/events.test.ts', 'of a transaction that still runs hold back what came after it'],
  },
  {
    name: 'who may export some activities reads all events',
    file: 'src/events/events.sql',
    text: "access.permission() is distinct from 'activity:export' or access.scope() <> 'all'",
    becomes: "access.permission() is distinct from 'activity:export'",
    noticed: ['test/events/events.test.ts', 'is for who may export all of the audit'],
  },
  // webhooks
  {
    name: 'an address is not looked at again before a message',
    file: 'src/webhooks/sending.ts',
    text: '  if (fault) return ended(null,',
    becomes: '  if (fault === url) return ended(null,',
    noticed: ['test/webhooks/webhooks.test.ts', 'goes to no address that is refused now'],
  },
  {
    name: 'the former secret of a webhook signs for ever',
    file: 'src/webhooks/delivering.sql',
    text: 'when signing_secrets.former_until > now() then',
    becomes: 'when signing_secrets.former_until is not null then',
    noticed: ['test/webhooks/webhooks.test.ts', 'is made with both secrets for a day after a rotation'],
  },
  {
    name: 'who may not read activities has a webhook send their details',
    file: 'src/webhooks/webhooks.sql',
    text: `      or (new.url, new.kinds, new.includes_details, new.secret_encrypted, new.public_key)
        is distinct from (old.url, old.kinds, old.includes_details, old.secret_encrypted, old.public_key)
`,
    becomes: `      or (new.url, new.kinds, new.secret_encrypted, new.public_key)
        is distinct from (old.url, old.kinds, old.secret_encrypted, old.public_key)
`,
    noticed: ['test/webhooks/webhooks.test.ts', 'takes who may export all activities'],
  },
  {
    name: 'an event that a receiver refused is left out',
    file: 'src/webhooks/delivery.ts',
    text: 'reached = event.seq - 1',
    becomes: 'reached = event.seq',
    noticed: ['test/webhooks/delivery.test.ts', 'goes on where it stopped when a receiver is back'],
  },
  {
    name: 'a sender that lost its lease moves the webhook on',
    file: 'src/webhooks/delivering.sql',
    text: 'if p.lease is distinct from continue_webhook.lease then',
    becomes: 'if false then',
    noticed: ['test/webhooks/delivery.test.ts', 'by a sender that died is taken over'],
  },
  // hooks
  {
    name: 'what a hook that fails does not allow goes on',
    file: 'src/hooks/asking.ts',
    text: "said?.decision ?? (hook.on_failure === 'open' ? 'allow' : 'deny')",
    becomes: "said?.decision ?? 'allow'",
    noticed: ['test/hooks/asked.test.ts', 'whose hook fails is made or not'],
  },
  {
    name: 'a hook makes its user an administrator in the eyes of an API',
    file: 'src/hooks/answer.ts',
    text: '  .refine((claims) => !Object.keys(claims).some((name) => RESERVED.test(name)))\n',
    becomes: '',
    noticed: ['test/hooks/hooks.test.ts', 'that answers a reserved claim counts as none'],
  },
  {
    name: 'whoever runs SQL as the app login says that a hook agreed',
    file: 'src/hooks/asking.sql',
    text: "    if current_setting('access.hooks_signature', true) in (\n",
    becomes: "    if true or current_setting('access.hooks_signature', true) in (\n",
    noticed: ['test/hooks/asked.test.ts', 'is taken of nobody but the system'],
  },
  {
    name: 'an answer about one person lets in another',
    file: 'src/hooks/asking.sql',
    text: "where a ->> 'act' = ask_hook.act and a ->> 'subject' in (ask_hook.subject, '*')",
    becomes: "where a ->> 'act' = ask_hook.act",
    noticed: ['test/hooks/asked.test.ts', 'is for the act and whom it is about'],
  },
  // competencies
  {
    name: 'a holder in disguise verifies what they can do',
    file: 'src/competencies/competencies.sql',
    text: 'c.user_id = access.principal() or c.user_id = access.impersonator()',
    becomes: 'c.user_id = access.principal()',
    noticed: ['test/competencies/competencies.test.ts', 'is not for the holder who acts as somebody else'],
  },
  {
    name: 'what nobody verified meets a demand',
    file: 'src/access/competent.sql',
    text: '      and c.verified_at <= moment\n',
    becomes: '',
    noticed: ['test/access/competent.test.ts', 'that nobody has verified'],
  },
  {
    name: 'the matrix has people whom its reader does not reach',
    file: 'src/competencies/matrix.sql',
    text: `    and ((select access.scope() = 'all')
      or u.id = any ((select access.scope_owner_ids())::uuid[])
      or u.unit_id = any ((select access.scope_unit_ids())::uuid[]));
`,
    becomes: '    and true;\n',
    noticed: ['test/competencies/matrix.test.ts', 'is of them, too, for whoever runs SQL'],
  },
  // employees
  {
    name: 'who sees an employee reads their document and address',
    file: 'src/employees/employees.sql',
    text: '      and access.is_sensitive_to(e, s.scope, s.units, s.owners);\n',
    becomes: ';\n',
    noticed: ['test/employees/employees.test.ts', 'is read with employee:read_sensitive alone'],
  },
  {
    name: 'who keeps the records of employees switches an administrator off',
    file: 'src/employees/terminating.sql',
    text: '  if u.is_active then\n    perform access.require_power_of(array[e.user_id]);\n',
    becomes: '  if u.is_active then\n',
    noticed: ['test/employees/employees.test.ts', 'needs the power over others that the account holds'],
  },
  {
    name: 'an import links the account of somebody whom its sender does not reach',
    file: 'src/employees/import.sql',
    text: 'and (u.id is null or not access.can_access_user(u.id)) then',
    becomes: 'and u.id is null then',
    noticed: ['test/employees/import.test.ts', 'moves in where they reach'],
  },
  // invitations
  {
    name: 'an invitation gives more than its inviter may',
    file: 'src/invitations/giving.sql',
    text: '    if reason is not null then\n',
    becomes: '    if false then\n',
    noticed: ['test/invitations/invitations.test.ts', 'needs invitation:create, and for roles'],
  },
  {
    name: 'an invitation gives what its inviter has lost since',
    file: 'src/invitations/giving.sql',
    text: '    and access.why_not_given(i.inviter_id, r, place, i.organization_id is not null) is null\n',
    becomes: '',
    noticed: ['test/invitations/accepting.test.ts', 'is given as far as the inviter can still give it'],
  },
  {
    name: 'somebody accepts what was meant for another address',
    file: 'src/invitations/accepting.sql',
    text: 'elsif i.email <> u.email then',
    becomes: 'elsif false then',
    noticed: ['test/invitations/accepting.test.ts', 'is joined by its own session alone'],
  },
  {
    name: 'somebody brings power along that their inviter lacks',
    file: 'src/invitations/accepting.sql',
    text: 'if moves and not access.covers_power_of(i.inviter_id, u.id) then',
    becomes: 'if false then',
    noticed: ['test/invitations/organizations.test.ts', 'nobody brings power over people along'],
  },
  // organizations
  {
    name: 'of two for the last place of an organization both come in',
    file: 'src/organizations/organizations.sql',
    text: 'if change > 0 and o.active_users + change > o.user_limit then',
    becomes: 'if false then',
    noticed: ['test/organizations/organizations.test.ts', 'of twenty at once the last three places'],
  },
  {
    name: 'an organization is wiped out with users who have more power',
    file: 'src/organizations/wiping.sql',
    text: '  perform access.require_power_of(array(select u.id from freehold.users u where u.organization_id = o.id));\n',
    becomes: '',
    noticed: ['test/organizations/wiping.test.ts', 'is nothing that one does to an organization of one’s own'],
  },
  {
    name: 'who reads an organization learns whom others have invited',
    file: 'src/organizations/invitations.sql',
    text: "  if not coalesce(\n    far.scope = 'all'\n",
    becomes: '  if not coalesce(\n    true\n',
    noticed: ['test/organizations/organizations.test.ts', 'reads whom others have invited to it'],
  },
  {
    name: 'who entered a foreign address learns to what its owner is invited',
    file: 'src/organizations/invitations.sql',
    text: 'where u.id = access.principal() and u.email_verified and',
    becomes: 'where u.id = access.principal() and',
    noticed: ['test/organizations/wiping.test.ts', 'learns to what they are invited'],
  },
  {
    name: 'who may create an organization takes units along',
    file: 'src/organizations/units.sql',
    text: "(access.effective_scope(access.principal(), 'unit:update')).scope is distinct from 'all'",
    becomes: 'false',
    noticed: ['test/organizations/within.test.ts', 'is taken along by who may move units'],
  },
]
