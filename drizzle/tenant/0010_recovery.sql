-- Recovery.
select 1;
