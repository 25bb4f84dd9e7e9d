-- What an entry of the audit is called as an event.
--   access.event_type        the type of the event
--   access.event_resources   what tables with triggers of the audit call their rows
--   access.is_wanted         whether a receiver chose it
--
-- Threat: a service records an activity of its own that looks like one of ours, and a receiver believes it.

-- The type of an event: a subject and what happened to it. An activity that a service recorded is `custom.` and its name;
-- a change of a row is named after its resource. A service chooses its words: `session` and `ende` make no `session.ended`.
create function access.event_type(activity text, resource text, action text) returns text
language sql immutable
return case activity
  when 'LOGIN' then 'login.succeeded'
  when 'LOGIN_FAILED' then 'login.failed'
  when 'LOGOUT' then 'session.ended'
  when 'STEP_UP' then 'step_up.succeeded'
  when 'STEP_UP_FAILED' then 'step_up.failed'
  when 'EMAIL_LOGIN_REQUESTED' then 'email_login.requested'
  when 'PASSWORD_CHANGE' then 'password.changed'
  when 'PASSWORD_CHANGE_FAILED' then 'password.change_failed'
  when 'PASSWORD_RESET' then 'password.reset'
  when 'PASSWORD_RESET_REQUESTED' then 'password.reset_requested'
  when 'EMAIL_CHANGE_REQUESTED' then 'email.change_requested'
  when 'MFA_ENABLED' then 'mfa.enabled'
  when 'MFA_DISABLED' then 'mfa.disabled'
  when 'MFA_CHANGE_FAILED' then 'mfa.change_failed'
  when 'BACKUP_CODE_USED' then 'backup_code.used'
  when 'BACKUP_CODES_RENEWED' then 'backup_codes.renewed'
  when 'PASSKEY_CLONE_SUSPECTED' then 'passkey.clone_suspected'
  when 'PROFILE_UPDATE' then 'user.updated'
  when 'USER_REGISTERED' then 'user.registered'
  when 'REGISTRATION_REQUESTED' then 'registration.requested'
  when 'USER_UNLOCKED' then 'user.unlocked'
  when 'USERS_IMPORTED' then 'users.imported'
  when 'EMPLOYEES_IMPORTED' then 'employees.imported'
  when 'COMPETENCY_VERIFIED' then 'competency.verified'
  when 'COMPETENCY_REVOKED' then 'competency.revoked'
  when 'USER_ERASED' then 'user.erased'
  when 'ERASURE_REQUESTED' then 'erasure.requested'
  when 'ERASURE_CANCELLED' then 'erasure.cancelled'
  when 'PERMISSION_CHANGE' then resource || '.' || action || 'd'
  when 'PERMISSIONS_READ' then 'permissions.read'
  when 'ROLE_ASSIGNED' then 'role.assigned'
  when 'ROLE_REMOVED' then 'role.removed'
  when 'API_KEY_CREATED' then 'api_key.created'
  when 'API_KEY_REVOKED' then 'api_key.revoked'
  when 'SUSPICIOUS_ACTIVITY' then 'suspicious_activity.detected'
  when 'ACCESS_REFUSED' then 'access.refused'
  when 'EXPORT' then case resource
    when 'user' then 'personal_data.exported'
    when 'competency' then 'competencies.exported'
    else 'activities.exported'
  end
  when 'AUDIT_ERASED' then 'audit.erased'
  when 'DOCUMENTS_COUNTED' then 'documents.counted'
  when 'ORGANIZATION_ENDING' then 'organization.ending'
  when 'ORGANIZATION_WIPED' then 'organization.wiped'
  when 'IMPERSONATION_STARTED' then 'impersonation.started'
  when 'IMPERSONATION_ENDED' then 'impersonation.ended'
  when 'DEVICE_REMEMBERED' then 'device.remembered'
  when 'DEVICE_FORGOTTEN' then 'device.forgotten'
  when 'INVITATION_SENT' then 'invitation.sent'
  when 'INVITATION_ACCEPTED' then 'invitation.accepted'
  when 'INVITATION_REVOKED' then 'invitation.revoked'
  when 'TENANT_RESTORED' then 'tenant.restored'
  when 'WEBHOOK_REPLAYED' then 'webhook.replayed'
  when 'HOOK_FAILED' then 'hook.failed'
  else case
    when activity = upper(resource) || '_' || upper(action) || 'D'
      and action in ('create', 'update', 'delete')
      and resource = any (access.event_resources())
      then resource || '.' || action || 'd'
    else 'custom.' || lower(activity)
  end
end;

-- What tables with triggers of the audit call their rows: of these a service records no change (access.is_built_in_activity).
create function access.event_resources() returns text[]
language sql immutable
return '{api_key,audience,competency,competency_type,delegation,delegation_permission,employee,external_identity,hook,logo,
  notification_preferences,organization,override,passkey,password,permission,provider,role,role_permission,session,
  tenant,unit,user,user_role,webhook}'::text[];

-- Whether an event type is among those that are wanted: `user.created`, or `user.*`; none: all are.
create function access.is_wanted(type text, kinds text[]) returns boolean
language sql immutable
return kinds = '{}' or type = any (kinds) or split_part(type, '.', 1) || '.*' = any (kinds);
