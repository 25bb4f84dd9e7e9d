-- Undo of a migration: what operators may read and begin. What follows is the system's (tenants/migration), which
-- is the owner, to whom no policy applies.
--
-- Threat: an undo that nobody can be asked about. So beginning one is in the platform's audit, with whoever did it, and
-- so is its end.

create policy operators on platform.kept_branches for select
  using ((select access.scope()) = 'all');

create policy operators on platform.migration_undos
  using ((select access.scope()) = 'all')
  with check ((select access.scope()) = 'all');

call access.audited('platform.migration_undos', 'migration_undo', '{}', '{lease_until,attempts,compute_until}');

grant select on platform.kept_branches to freehold_app;

grant select, insert on platform.migration_undos to freehold_app;
