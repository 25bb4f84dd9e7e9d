-- Moves of tenants: what operators may read and begin. What follows is the system's (move.ts), which is the owner, to
-- whom no policy applies.
--
-- Threat: two moves of one tenant at once, or a move beside a migration. A unique index keeps the first of two moves,
-- and the mark in platform.tenants is taken under the lock of the tenant's row, which whoever migrates it takes, too.

create policy operators on platform.tenant_moves
  using ((select access.scope()) = 'all')
  with check ((select access.scope()) = 'all');

call access.audited('platform.tenant_moves', 'tenant_move', secret => '{app_url_encrypted,owner_url_encrypted}',
  noise => '{step,copied,operations,lease_until,attempts,left_until}');

grant
  select (id, tenant_id, from_isolation, isolation, region, state, step, attempts, lease_until, error, copied,
    other_host_id, trace_id, created_at, closed_at, exchanged_at, finished_at, left_until),
  insert (id, tenant_id, from_isolation, isolation, region, state, step, attempts, lease_until, trace_id)
on platform.tenant_moves to freehold_app;
