-- Asking a hook before something is done.
--   access.ask_hook        for whatever is to be done: what its hook answered; null: it has none
--   access.obey_hook       the same, and refuses where that is the answer
--   access.hook_target     for the Worker: where a hook is asked, and how that is signed
--   access.hook_answered   for the Worker: what hooks answered, before the same is sent again
--
-- Threat: a transaction that waits for somebody else's server holds locks and a connection of the tenant; an act passes
-- without its hook, because some way to it forgot to ask; somebody who runs SQL as the app login says that a hook agreed.
-- So the act itself asks, wherever it is done: without an answer it raises FH40H, which undoes the whole transaction, and
-- says what is to be asked. The Worker asks, and sends the same again with the answer. That is signed for this transaction,
-- for one act and whom it is about, and takes the system's key, which the app login lacks. A tenant without hooks pays one
-- look at an empty table, and no round trip.

-- {id, act, url, on_failure, secrets}; null: there is none.
create function access.target_of_hook(id uuid) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
  select jsonb_build_object(
    'id', h.id, 'act', h.act, 'url', h.url, 'on_failure', h.on_failure,
    'secrets', access.signing_secrets(h.secret_encrypted, h.former_secret_encrypted, h.former_until))
  from freehold.hooks h
  where h.id = target_of_hook.id
$$;

create function access.hook_target(tenant_id uuid, system_key text, hook uuid) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform access.check_system(tenant_id, system_key);
  return access.target_of_hook(hook);
end $$;

-- Takes answers for the rest of this transaction: [{hook_id, act, subject, is_allowed, is_failed, said, claims}].
create function access.hook_answered(tenant_id uuid, system_key text, answers jsonb) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform access.check_system(tenant_id, system_key);
  perform access.take_hook_answers(answers);
  return true;
end $$;

create function access.take_hook_answers(answers jsonb) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  k access.secrets;
begin
  select * into k from access.secrets;
  perform
    set_config('access.hooks', answers::text, true),
    set_config(
      'access.hooks_signature',
      encode(access.hmac(k.inner_key, k.outer_key, access.bound('hooks:' || answers::text)), 'hex'),
      true
    );
end $$;

-- The answers of this transaction; none, when the signature is not ours.
create function access.hook_answers() returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  said text := current_setting('access.hooks', true);
  covered text := access.bound('hooks:' || said);
  k access.secrets;
begin
  if said <> '' then
    select * into k from access.secrets;
    if current_setting('access.hooks_signature', true) in (
      encode(access.hmac(k.inner_key, k.outer_key, covered), 'hex'),
      case
        when k.rotated_at > clock_timestamp() - interval '1 minute'
          then encode(access.hmac(k.former_inner_key, k.former_outer_key, covered), 'hex')
      end)
    then
      return said::jsonb;
    end if;
  end if;
  return '[]';
end $$;

-- What the hook of an act answered about a subject; null: there is none, or it is not asked here. Raises FH40H where it
-- was not asked yet. `about` is what it is told. An old Worker, which knows no hooks, takes that for a refusal.
create function access.ask_hook(act text, subject text, about jsonb) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  h freehold.hooks;
  answer jsonb;
begin
  select * into h from freehold.hooks x where x.act = ask_hook.act and not x.is_paused;
  if h.id is null then
    return null;
  end if;
  select a
  into answer
  from jsonb_array_elements(access.hook_answers()) a
  where a ->> 'act' = ask_hook.act and a ->> 'subject' in (ask_hook.subject, '*');
  if answer is null then
    raise exception using
      errcode = 'FH40H',
      message = 'forbidden',
      detail = jsonb_build_object('hook_id', h.id, 'act', act, 'subject', subject, 'about', about)::text;
  end if;
  return answer;
end $$;

-- Asks, and refuses (FH40D) where that is the answer. What passes though its hook failed is in the audit.
create function access.obey_hook(act text, subject text, about jsonb) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  answer jsonb := access.ask_hook(act, subject, about);
begin
  if not (answer ->> 'is_allowed')::boolean then
    raise exception using errcode = 'FH40D', message = 'denied_by_hook', detail = answer ->> 'said';
  end if;
  perform access.record_failed_hook(answer);
end $$;

create function access.record_failed_hook(answer jsonb) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  if (answer ->> 'is_failed')::boolean then
    perform access.record(
      'HOOK_FAILED', 'ask', 'hook', answer ->> 'hook_id', null, jsonb_build_object('act', answer ->> 'act'), 20
    );
  end if;
end $$;

-- Asks about a login of somebody who proved who they are: {is_allowed, reason, said, claims}; null: there is no hook. Where
-- it fails and is closed, whoever may change it comes in all the same: nobody could mend it otherwise.
create function access.ask_about_login(u freehold.users, request jsonb, client text, amr text) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  answer jsonb := access.ask_hook('login', u.id::text, jsonb_build_object(
    'user_id', u.id, 'username', u.username, 'email', u.email, 'organization_id', u.organization_id, 'unit_id', u.unit_id,
    'role', u.role, 'amr', amr, 'client_id', client, 'address', request ->> 'address', 'agent', request ->> 'agent',
    'country', request ->> 'country', 'city', request ->> 'city'));
  failed boolean := (answer ->> 'is_failed')::boolean;
begin
  if answer is null then
    return null;
  end if;
  if failed and access.decide(u.id, 'setting:update', now()) = 'all' then
    answer := answer || '{"is_allowed": true}';
  end if;
  if (answer ->> 'is_allowed')::boolean then
    perform access.record_failed_hook(answer);
  end if;
  return answer || jsonb_build_object('reason', case when failed then 'hook_failed' else 'denied_by_hook' end);
end $$;

-- After all other checks, so that a hook is told of users alone that would be made.
create function access.ask_about_user() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform access.obey_hook('user.create', new.email, jsonb_build_object(
    'username', new.username, 'email', new.email, 'email_verified', new.email_verified, 'given_name', new.given_name,
    'family_name', new.family_name, 'locale', new.locale, 'role', new.role, 'organization_id', new.organization_id,
    'unit_id', new.unit_id));
  return null;
end $$;

create trigger ask_hook after insert on freehold.users
  for each row execute function access.ask_about_user();

create function access.ask_about_invitation(i freehold.invitations, subject uuid) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  perform access.obey_hook('invitation.accept', i.id::text, jsonb_build_object(
    'invitation_id', i.id, 'email', i.email, 'user_id', subject, 'organization_id', i.organization_id,
    'unit_id', i.unit_id, 'role_ids', i.role_ids, 'inviter_id', i.inviter_id));
end $$;

-- Lines of a file are made without the hook: thousands would each wait for it.
create function access.pass_hook(act text) returns void
language sql volatile set search_path = pg_catalog, pg_temp as $$
  select access.take_hook_answers(access.hook_answers() || jsonb_build_array(
    jsonb_build_object('act', act, 'subject', '*', 'is_allowed', true, 'is_failed', false)))
$$;

grant execute on function
  access.hook_target(uuid, text, uuid),
  access.hook_answered(uuid, text, jsonb)
to freehold_app;
