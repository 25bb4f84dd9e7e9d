-- Activities: the audit as the API shows it. Reading it (policies), exporting it, and the entries that services write
-- about what they did themselves.
--   access.record_custom_activity   writes an entry for a service, with activity:create
--   access.record_export            writes that entries were exported, with activity:export
--
-- Threat: a service writes entries that look like ours, or that name another user; somebody who reads the audit
-- guesses an erased detail from its hash. So the types of Freehold's own activities are refused, user and origin are
-- the admitted ones, and the salt of a hash is erased with the detail.

-- Writes an entry about what a service did. Its user and its origin are those that the transaction was admitted with.
-- Raises FH403, FH400.
create function access.record_custom_activity(
  activity text,
  action text,
  resource text,
  resource_id text,
  risk integer,
  before jsonb,
  after jsonb
) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  written uuid[];
begin
  if access.permission() is distinct from 'activity:create' then
    perform access.refuse('forbidden', 'Recording an activity needs activity:create.');
  elsif activity !~ '^[A-Z][A-Z0-9]*(_[A-Z0-9]+)*$' or length(activity) > 64 then
    perform access.refuse(
      'invalid_request',
      'must be words in capitals with _ between them, at most 64 characters',
      'activity_type'
    );
  elsif access.is_built_in_activity(activity) then
    perform access.refuse('invalid_request', format('%s is recorded by Freehold itself', activity), 'activity_type');
  elsif action is null
    or resource is null
    or risk is null
    or risk not between 0 and 100
    or greatest(length(action), length(resource)) > 64
    or length(resource_id) > 255
    or coalesce(length(before::text), 0) + coalesce(length(after::text), 0) > 32768
  then
    perform access.refuse('invalid_request', 'is larger than an activity may be', 'after');
  end if;
  written := access.write_audit(
    access.actor(),
    activity,
    record_custom_activity.action,
    resource,
    risk,
    array[record_custom_activity.resource_id],
    array[before],
    array[after]
  );
  return access.audit_entry(written[1]);
end $$;

-- Whether a type of activity is one that only Freehold itself writes: the given list, and the changes of every table
-- with audit triggers.
create function access.is_built_in_activity(activity text) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select
    activity in (
      'LOGIN', 'LOGOUT', 'LOGIN_FAILED', 'PASSWORD_CHANGE', 'PASSWORD_RESET', 'PASSWORD_CHANGE_FAILED',
      'MFA_ENABLED', 'MFA_DISABLED', 'MFA_CHANGE_FAILED', 'BACKUP_CODE_USED', 'BACKUP_CODES_RENEWED',
      'PROFILE_UPDATE', 'PERMISSION_CHANGE', 'PERMISSIONS_READ',
      'ROLE_ASSIGNED', 'ROLE_REMOVED', 'API_KEY_CREATED', 'API_KEY_REVOKED', 'SUSPICIOUS_ACTIVITY', 'ACCESS_REFUSED',
      'EXPORT', 'AUDIT_ERASED', 'USERS_IMPORTED', 'USER_UNLOCKED', 'USER_REGISTERED', 'REGISTRATION_REQUESTED',
      'PASSWORD_RESET_REQUESTED', 'EMAIL_CHANGE_REQUESTED', 'DOCUMENTS_COUNTED', 'STEP_UP',
      'STEP_UP_FAILED', 'PASSKEY_CLONE_SUSPECTED', 'EMAIL_LOGIN_REQUESTED',
      'ORGANIZATION_ENDING', 'ORGANIZATION_WIPED', 'IMPERSONATION_STARTED', 'IMPERSONATION_ENDED',
      'DEVICE_REMEMBERED', 'DEVICE_FORGOTTEN', 'ERASURE_REQUESTED', 'ERASURE_CANCELLED', 'USER_ERASED',
      'INVITATION_SENT', 'INVITATION_ACCEPTED', 'INVITATION_REVOKED', 'EMPLOYEES_IMPORTED', 'WEBHOOK_REPLAYED',
      'COMPETENCY_VERIFIED', 'COMPETENCY_REVOKED', 'HOOK_FAILED', 'TENANT_RESTORED'
    )
    or exists (
      select
      from pg_trigger t
      cross join unnest(array['CREATED', 'UPDATED', 'DELETED']) as done (word)
      where t.tgfoid = 'access.audit()'::regprocedure
        and activity = upper(split_part(encode(t.tgargs, 'escape'), '\000', 1)) || '_' || done.word
    )
$$;

-- An entry in the form that the API shows.
create function access.audit_entry(entry uuid) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
  select jsonb_build_object(
    'id', l.id,
    'at', to_char(l.at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'user_id', l.user_id,
    'user_name', d.user_name,
    'activity_type', l.activity_type,
    'action', l.action,
    'resource_type', l.resource_type,
    'resource_id', l.resource_id,
    'risk_score', l.risk_score,
    'trace_id', l.trace_id,
    'address', d.address,
    'agent', d.agent,
    'method', d.method,
    'path', d.path,
    'before', d.before,
    'after', d.after,
    'api_key_id', d.api_key_id,
    'impersonator_id', d.impersonator_id
  )
  from freehold.audit_log l
  left join freehold.audit_detail d on d.log_id = l.id
  where l.id = entry
$$;

-- Writes that the admitted user exports entries of the audit, and by which filters.
create function access.record_export(filters jsonb) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if access.permission() is distinct from 'activity:export' then
    perform access.refuse('forbidden', 'Exporting activities needs activity:export.');
  end if;
  perform access.record('EXPORT', 'export', 'activity', null, null, filters);
end $$;

-- Whether this transaction was admitted to read the audit; access.may_read_all_audit: all of it. The planner takes a
-- boolean for likely, and then walks the index that a list is sorted by.
create function access.may_read_audit() returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select coalesce(access.permission() in ('activity:read', 'activity:export'), false)
$$;

create function access.may_read_all_audit() returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select access.may_read_audit() and access.scope() = 'all'
$$;

-- Not access.protect: it would grant all columns, and plans depend on the form of these conditions. Functions alone
-- write.
create policy read on freehold.audit_log for select using (
  (select access.may_read_all_audit())
  or (
    (select access.may_read_audit())
    and (
      user_id = any ((select access.scope_owner_ids())::uuid[])
      or user_id in (select u.id from freehold.users u where u.unit_id = any ((select access.scope_unit_ids())::uuid[]))
    )
  )
);

-- A detail is read where its entry is.
create policy read on freehold.audit_detail for select using (
  (select access.may_read_all_audit())
  or (
    (select access.may_read_audit())
    and exists (select from freehold.audit_log l where l.id = log_id)
  )
);

-- With the hashes and salts, by which an export can be verified.
grant select on freehold.audit_log, freehold.audit_detail to freehold_app;

grant execute on function
  access.may_read_audit(),
  access.may_read_all_audit(),
  access.record_custom_activity(text, text, text, text, integer, jsonb, jsonb),
  access.record_export(jsonb)
to freehold_app;
