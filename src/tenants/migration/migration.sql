-- Migrations of the fleet: what operators may read and start. Going on with a run is the system's (fleet.ts), which is
-- the owner, to whom no policy applies.
--
-- Threat: two runs at once, or two attempts at one tenant. A unique index keeps the first, leases the second.

create policy operators on platform.migration_runs
  using ((select access.scope()) = 'all')
  with check ((select access.scope()) = 'all');

create policy operators on platform.tenant_migrations
  using ((select access.scope()) = 'all')
  with check ((select access.scope()) = 'all');

call access.audited('platform.migration_runs', 'migration', '{}', '{wave}');

-- Who is awake decides who is migrated first.
create policy operators on platform.maintenance for select
  using ((select access.scope()) = 'all');

grant select (realm_id, active_until, users_counted_at) on platform.maintenance to freehold_app;

grant select, insert, update (state, reason, finished_at) on platform.migration_runs to freehold_app;

grant select, insert, update (run_id, wave, state, from_version, step, error, drift, ms, finished_at)
on platform.tenant_migrations to freehold_app;
