-- What the doctor fixes, in the audit of the platform.
--
-- Threat: something is deleted at Neon, and nobody knows who asked for it. So a request writes what it will do before
-- it does it, as whoever asked.
create function platform.record_fix(code text, subject text) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if access.scope() is distinct from 'all' or coalesce(access.permission(), '') not in ('tenant:update', 'tenant:delete') then
    perform access.refuse('forbidden', 'Fixing needs a permission for tenants.');
  end if;
  perform access.record('DOCTOR_FIXED', 'fix', 'doctor', null, null,
    jsonb_build_object('code', record_fix.code, 'subject', record_fix.subject));
end $$;

grant execute on function platform.record_fix(text, text) to freehold_app;
