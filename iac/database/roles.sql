-- Logins of the database and what each may do. Run as its owner with psql, once at the start, after the first
-- `smartdrive-api migrate`, and again after a release that adds tables; it may be repeated:
--
--   psql -v api_password=… -v publisher_password=… -v dagster_password=… -f iac/database/roles.sql
--
-- The passwords are those in the secrets database-app, database-serving and database-dagster.
\set ON_ERROR_STOP on

select format('create role %I login', name) from unnest(array['api', 'publisher', 'dagster']) as name
where not exists (select from pg_roles where rolname = name) \gexec

alter role api password :'api_password';
alter role publisher password :'publisher_password';
alter role dagster password :'dagster_password';

-- Dagster keeps its state apart; it makes its tables itself.
grant dagster to current_user;
select 'create database dagster owner dagster' where not exists (select from pg_database where datname = 'dagster') \gexec
revoke all on database dagster from public;
select format('revoke all on database %I from public', current_database()) \gexec
select format('grant connect on database %I to api, publisher', current_database()) \gexec

-- The lake's publisher writes figures and reads no account; the API reads figures and writes none.
grant usage on schema serving to publisher;
grant select, insert, update, delete on all tables in schema serving to publisher;
grant execute on all functions in schema serving to publisher;

grant usage on schema public, serving to api;
grant select, insert, update, delete on all tables in schema public to api;
grant select on all tables in schema serving to api;
grant insert on serving.erasures to api;
