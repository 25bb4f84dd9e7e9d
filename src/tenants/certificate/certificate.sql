-- Certificates of erasures, which operators may read. Erasing writes them (tenants/lifecycle/erasure.ts), as the owner.
--
-- Threat: a certificate is replaced, or one is there of a tenant that was not erased. So nobody who is admitted writes
-- one; each is inserted by the transaction that deletes the tenant's row, and the platform's audit holds its text.

create policy operators on platform.erasure_certificates for select
  using ((select access.scope()) = 'all');

call access.audited('platform.erasure_certificates', 'erasure_certificate', keys => '{tenant_id}');

grant select on platform.erasure_certificates to freehold_app;
