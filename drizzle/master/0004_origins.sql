-- Operators give a tenant the origins of its pages.
grant update (config) on platform.tenants to freehold_app;
