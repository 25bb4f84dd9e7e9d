-- Where the data of a person is: one row for each table that has some. The export and the erasure both walk it, and
-- test/personal/registry.test.ts fails for a table of the database that is neither here nor on its list of tables
-- without people, and for a column that is neither exported nor withheld.
--
-- Threat: a table that somebody adds later is forgotten, and a person who was erased is still in it.
--   place      the order in which rows are scrubbed: what others refer to after them, and what may send a mail at the end
--   relation   the table, `x` below
--   name       what the export calls it; null: it is not in the export
--   whose      whether a row is the person's; $1 is their id
--   also       whether a row that is not theirs names them all the same, which is scrubbed only; $2 is what they were
--              known by (addresses, number, username), $3 the networks that they came from
--   exported   columns of the export; an expression names itself with `as`
--   withheld   columns that are not exported: secrets, and what only the database understands
--   fate       `keep`, `delete`, or what an update sets
-- The audit is not here: the export reads it in pages, and its details are erased by access.erase_detail alone.
create function access.personal_tables() returns table (
  place integer,
  relation text,
  name text,
  whose text,
  also text,
  exported text[],
  withheld text[],
  fate text
)
language sql immutable set search_path = pg_catalog, pg_temp as $$
  values
    (10, 'freehold.users', 'user', 'x.id = $1', null,
      '{id,username,email,email_verified,password_changed_at,must_change_password,factors,given_name,family_name,phone,
        phone_verified,role,unit_id,organization_id,manager_id,designation,description,is_active,locale,timezone,max_sessions,
        preferences,avatar,joined_at,terminated_at,created_at,updated_at,erased_at}'::text[]
        || '(select o.name from freehold.organizations o where o.id = x.organization_id) as organization'::text,
      '{name}'::text[],
      $set$username = 'former-user-' || replace(x.id::text, '-', ''),
        email = 'former-user-' || replace(x.id::text, '-', '') || '@erased.invalid', email_verified = false,
        given_name = 'Former user', family_name = null, phone = null, phone_verified = false, role = null,
        manager_id = null, organization_id = null, designation = null, description = null, locale = 'en', timezone = 'UTC',
        preferences = '{}', avatar = null, factors = '{}', must_change_password = false, is_active = false,
        erased_at = now()$set$),
    (20, 'freehold.user_roles', 'roles', 'x.user_id = $1', null,
      array['(select r.name from freehold.roles r where r.id = x.role_id) as role', 'role_id', 'organization_id', 'starts_at',
        'ends_at'],
      '{id,user_id}',
      $set$ends_at = case when x.ends_at is null or x.ends_at > now() then greatest(now(), x.starts_at) else x.ends_at end$set$),
    (21, 'freehold.overrides', 'overrides', 'x.user_id = $1', null,
      '{permission,effect,scope,starts_at,ends_at}', '{id,user_id}',
      $set$ends_at = case when x.ends_at is null or x.ends_at > now() then greatest(now(), x.starts_at) else x.ends_at end$set$),
    (22, 'freehold.delegations', 'delegations', '$1 in (x.delegator_id, x.delegate_id)',
      'access.mentions(x.reason, $2)',
      '{id,delegator_id,delegate_id,role_id,starts_at,ends_at,reason,decision,decided_at,revoked_at,created_at}',
      '{decided_by}',
      $set$reason = null,
        revoked_at = case when $1 in (x.delegator_id, x.delegate_id) and x.ends_at > now()
          then coalesce(x.revoked_at, now()) else x.revoked_at end$set$),
    (23, 'freehold.user_periods', 'periods', 'x.user_id = $1', null, '{starts_at,ends_at}', '{id,user_id}', 'keep'),
    (24, 'freehold.employees', 'employee', 'x.user_id = $1', 'x.email = any ($2) or x.phone = any ($2)',
      '{id,document_type,document_number,given_names,family_name,sex,nationality,birth_date,employment,position,area,
        cost_centre,unit_id,contractor_since,employed_since,terminated_at,termination_reason,email,phone,address,district,
        emergency_contact,emergency_phone,created_at,updated_at}',
      '{user_id,document_hint,name,ends_account,account_was_to_end_at}',
      $set$document_number = x.id::text, given_names = 'Former', family_name = 'employee', sex = null, nationality = null,
        birth_date = null, terminated_at = coalesce(x.terminated_at, now()), termination_reason = 'erased', email = null,
        phone = null, address = null, district = null, emergency_contact = null, emergency_phone = null$set$),
    (25, 'freehold.competencies', 'competencies', 'x.user_id = $1',
      'access.mentions(x.evidence_url, $2) or access.mentions(x.revocation_reason, $2)',
      array['id', 'type_id', '(select t.name from freehold.competency_types t where t.id = x.type_id) as type_name', 'level',
        'issued_at', 'expires_at', 'evidence_url', 'verified_at', 'revoked_at', 'revocation_reason', 'created_at', 'updated_at'],
      '{user_id,verified_by,revoked_by,alerted_days}',
      $set$evidence_url = case when x.user_id <> $1 and not access.mentions(x.evidence_url, $2) then x.evidence_url end,
        revocation_reason = case
          when x.user_id <> $1 and not access.mentions(x.revocation_reason, $2) then x.revocation_reason
        end$set$),
    (30, 'freehold.api_keys', 'api_keys', 'x.user_id = $1', 'access.mentions(x.name, $2)',
      '{id,name,prefix,permissions,addresses,last_used_at,use_count,created_at,expires_at,revoked_at}',
      '{user_id,key_hash,rotated_from}',
      $set$name = case when x.user_id = $1 then 'former user'
          else access.without_words(x.name, array(select w.word from unnest($2) w (word) where strpos(w.word, '@') > 0)) end,
        addresses = case when x.user_id = $1 then '{}' else x.addresses end,
        revoked_at = case when x.user_id = $1 then coalesce(x.revoked_at, now()) else x.revoked_at end$set$),
    (31, 'freehold.refresh_tokens', null,
      'x.session_id in (select s.id from freehold.sessions s where s.user_id = $1)', null,
      '{}', '{token_hash,session_id,device,created_at,expires_at,used_at,successor_hash}', 'delete'),
    -- Also those in which the person acted as somebody else: they say from where.
    (32, 'freehold.sessions', 'sessions', '$1 in (x.user_id, x.impersonator_id)', null,
      '{id,device,address,city,country,client_id,amr,aal,authenticated_at,created_at,last_active_at,expires_at,ended_at,
        ended_because,impersonator_id,impersonation_reason,hook_claims}',
      '{user_id,device_id,impersonator_session_id}', 'delete'),
    (33, 'freehold.login_challenges', null, 'x.user_id = $1', null, '{}',
      '{token_hash,user_id,guard,client,audience,device,amr,risk_id,code_hash,mails,mailed_at,failures,created_at,expires_at,
        used_at}', 'delete'),
    (34, 'freehold.totp_factors', 'authenticator_app', 'x.user_id = $1', null,
      '{created_at,enabled_at}', '{user_id,secret_encrypted,last_step}', 'delete'),
    (35, 'freehold.backup_codes', 'backup_codes', 'x.user_id = $1', null, '{created_at,used_at}', '{code_mac,user_id}', 'delete'),
    (35, 'freehold.remembered_devices', 'remembered_devices', 'x.user_id = $1', null,
      '{created_at,expires_at}', '{user_id,device}', 'delete'),
    (36, 'freehold.email_logins', 'logins_by_mail', 'x.user_id = $1', null,
      '{target,agent,city,country,failures,created_at,expires_at,used_at}',
      '{request_hash,link_hash,code_hash,user_id}', 'delete'),
    (36, 'freehold.passwords', 'passwords', 'x.user_id = $1', null,
      '{is_first,created_at,replaced_at}', '{id,user_id,password_hash,warned_at}', 'delete'),
    (37, 'freehold.one_time_tokens', 'mailed_tokens', 'x.user_id = $1', null,
      '{kind,target,tries,created_at,expires_at,used_at}', '{token_hash,user_id}', 'delete'),
    (38, 'freehold.registrations', 'registrations',
      'x.email = (select u.email from freehold.users u where u.id = $1)', 'x.email = any ($2) or x.username = any ($2)',
      '{email,username,given_name,family_name,locale,created_at,expires_at,used_at}',
      '{token_hash,secret_hash,password_hash,is_mailed}', 'delete'),
    (38, 'freehold.invitations', 'invitations',
      'x.accepted_by = $1 or x.email = (select u.email from freehold.users u where u.id = $1)', 'x.email = any ($2)',
      '{id,email,organization_id,unit_id,role_ids,given_name,family_name,locale,created_at,sent_at,expires_at,accepted_at,
        revoked_at}',
      '{inviter_id,token_hash,updated_at,accepted_by,closed_at}', 'delete'),
    -- Of nobody known: what was tried from where the person came from.
    (39, 'freehold.login_attempts', 'login_attempts', 'x.user_id = $1',
      'x.identifier = any ($2) or x.user_id is null and exists (
        select from unnest($3) n (network) where right(x.guard, length(n.network) + 1) = '':'' || n.network)',
      '{identifier,state,created_at}', '{id,user_id,key,guard,network,hash_parameters}', 'delete'),
    (39, 'freehold.risk_attempts', 'assessed_logins', 'x.user_id = $1', 'x.user_id is null and x.network = any ($3)',
      array['kind', 'agent', 'network', 'asn', 'country', 'latitude', 'longitude', 'score',
        'access.risk_reasons(x.strengths) as reasons', 'outcome', 'created_at', 'seen_at'],
      '{id,user_id,device,strengths}', 'delete'),
    (40, 'freehold.lockouts', 'lockouts', 'strpos(concat_ws('' '', x.key, x.parent), $1::text) > 0',
      'starts_with(x.key, ''unknown:'') and exists (
        select from unnest($3) n (network) where right(x.key, length(n.network) + 1) = '':'' || n.network)',
      '{failures,failed_at,locked_until}', '{key,parent}', 'delete'),
    -- Of a network that nothing was counted of yet, so that no count is lost.
    (41, 'access.counted_failures', null, 'false', 'x.counts = ''{}'' and x.network = any ($3)',
      '{}', '{hour,network,seen,counts}', 'delete'),
    (42, 'access.kept_answers', null, 'x.user_id = $1',
      'strpos(x.resource::text, $1::text) > 0 or access.is_named_in(x.resource::jsonb, $2)',
      '{}', '{id,user_id,request_hash,resource,secrets_encrypted,created_at}', 'delete'),
    (43, 'access.session_places', null,
      'x.session_id in (select s.id from freehold.sessions s where s.user_id = $1)', null,
      '{}', '{place,session_id,free_from}', 'keep'),
    -- Until its objects are deleted.
    (44, 'access.left_avatars', null, 'x.user_id = $1', null, '{}', '{user_id,version,left_at}', 'keep'),
    (50, 'freehold.erasures', 'erasures', 'x.user_id = $1', null,
      '{id,reason,requested_at,erase_at,cancelled_at,erased_at}', '{user_id,requested_by,cancel_hash,traces}', 'keep'),
    -- Removing one of these sends a mail.
    (59, 'freehold.external_identities', 'identities', 'x.user_id = $1', null,
      '{id,provider,issuer,external_id,email,created_at,last_used_at}', '{user_id,provider_id}', 'delete'),
    (60, 'freehold.passkeys', 'passkeys', 'x.user_id = $1', null,
      '{id,rp_id,ends_at,name,aaguid,transports,is_synced,created_at,last_used_at}',
      '{user_id,credential_id,public_key,counter}', 'delete'),
    (61, 'freehold.mail_attempts', 'mail_attempts',
      'x.mail_id in (select m.id from freehold.mails m where m.user_id = $1)',
      'x.mail_id in (select m.id from freehold.mails m where m.recipient = any ($2) or access.is_named_in(m.data, $2))',
      '{mail_id,started_at,finished_at,outcome,detail}', '{id}', 'delete'),
    (62, 'freehold.mails', 'mails', 'x.user_id = $1', 'x.recipient = any ($2) or access.is_named_in(x.data, $2)',
      '{id,kind,channel,recipient,locale,data,state,created_at,finished_at}',
      '{user_id,secrets_encrypted,trace_id,attempts,next_at,lease_until}', 'delete'),
    -- Also what others were told of the person; after what mails, and so tells, at the end.
    (63, 'freehold.notifications', 'notifications', 'x.user_id = $1', 'x.about_id = $1 or access.is_named_in(x.params, $2)',
      '{id,kind,event,params,resource_type,resource_id,created_at,read_at}', '{user_id,about_id,is_listed,mail}', 'delete'),
    (64, 'freehold.notification_preferences', 'notification_preferences', 'x.user_id = $1', null,
      '{kinds,updated_at}', '{user_id}', 'delete')
$$;

-- A text as a pattern that matches it and nothing else.
create function access.literal(said text) returns text
language sql immutable
return regexp_replace(said, '([^[:alnum:]])', '\\\1', 'g');

-- Whether a text names somebody: by an address, wherever it stands.
create function access.mentions(said text, words text[]) returns boolean
language sql immutable
return coalesce(
  exists (
    select
    from unnest(words) w (word)
    where strpos(w.word, '@') > 0
      and strpos(lower(said), lower(w.word)) > 0
      and said ~* format('(^|[^[:alnum:]._%%+-])%s($|[^[:alnum:]_-])', access.literal(w.word))
  ),
  false
);

-- The same of what JSON says, which also names somebody where a username or a number is the whole value of what is called so.
create function access.is_named_in(said jsonb, words text[]) returns boolean
language sql immutable
return access.mentions(said::text, words)
  or coalesce(
    exists (
      select
      from unnest(words) w (word)
      where strpos(said::text, to_json(w.word)::text) > 0
        and jsonb_path_exists(
          said,
          '$.** ? (@.username == $word || @.user_name == $word || @.identifier == $word || @.phone == $word)',
          jsonb_build_object('word', w.word))
    ),
    false
  );
