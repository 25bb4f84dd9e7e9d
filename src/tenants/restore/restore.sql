-- Restore points of tenants: what operators may read, begin and confirm. The rest is the system's (restore.ts), which
-- is the owner, to whom no policy applies.
--
-- Threat: a tenant is taken back, and nobody can be asked about it; or a cut of its audit that nobody made is
-- accepted. So each step that an operator begins is in the platform's audit, with whoever did it, and so is each cut,
-- which nobody who is admitted writes.

create policy operators on platform.restore_points
  using ((select access.scope()) = 'all')
  with check ((select access.scope()) = 'all');

call access.audited('platform.restore_points', 'restore_point', '{}',
  '{lease_until,attempts,compute_until,difference,removed_at}');

call access.audited('platform.audit_cuts', 'audit_cut', keys => '{realm_id,to_no}');

grant select, insert, update (state, attempts, lease_until, error, trace_id, kept_until, exchanged_at, finished_at)
on platform.restore_points to freehold_app;

-- How the attempts of a tenant are numbered that close its database: they only grow, whatever they are for, and giving
-- one up takes a number, too (tenants/fence/fence.ts).
create function platform.next_fence_attempt(tenant uuid) returns integer
language sql stable
return 2 + greatest(
  (select max(x.attempts) from platform.restore_points x where x.tenant_id = tenant),
  (select max(x.attempts) from platform.tenant_moves x where x.tenant_id = tenant),
  (select max(x.attempts) from platform.migration_undos x where x.tenant_id = tenant),
  0
);

grant execute on function platform.next_fence_attempt(uuid) to freehold_app;
