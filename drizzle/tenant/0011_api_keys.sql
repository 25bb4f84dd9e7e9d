-- API keys.
-- The key of a hash (hex), if it works now and from there. Raises FH401 token_invalid.
create function access.key_named(hash text, request jsonb) returns freehold.api_keys language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  raise exception using errcode = 'FH401', message = 'token_invalid';
end $$;
--> statement-breakpoint
revoke execute on all functions in schema access from public;
