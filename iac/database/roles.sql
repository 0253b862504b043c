-- Roles of the database and what each may do. Run as its owner with psql, once at the start, after the first
-- `smartdrive-api migrate`, and again after a release that adds tables; it may be repeated:
--
--   psql -v api_password=… -v publisher_password=… -v dagster_password=… -f iac/database/roles.sql
--
-- The passwords are the first ones, of the logins api_a, publisher_a and dagster_a, which the secrets database-app,
-- database-serving and database-dagster name. Later runs leave them out: rotation.sql's function changes passwords.
\set ON_ERROR_STOP on

-- A program has two logins, which act as its role: while one is given another password, the program uses the other.
create temporary table wanted as
select program, program || suffix as login
from unnest(array['api', 'publisher', 'dagster']) as program, unnest(array['_a', '_b']) as suffix;

select distinct format('create role %I nologin', program) from wanted
where not exists (select from pg_roles where rolname = program) \gexec
select format('create role %I login in role %I', login, program) from wanted
where not exists (select from pg_roles where rolname = login) \gexec
select format('alter role %I set role %I', login, program) from wanted \gexec

\if :{?api_password}
alter role api_a password :'api_password';
\endif
\if :{?publisher_password}
alter role publisher_a password :'publisher_password';
\endif
\if :{?dagster_password}
alter role dagster_a password :'dagster_password';
\endif

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

\set programs 'api, publisher'
\ir rotation.sql
\connect dagster
\set programs dagster
\ir rotation.sql
