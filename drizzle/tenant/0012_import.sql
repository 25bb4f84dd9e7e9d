-- Import.
select 1;
