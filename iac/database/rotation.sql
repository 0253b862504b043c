-- Part of roles.sql, once for each database: how a login gives its twin another password, with nobody's rights but
-- these. Who rotates needs no login that may change any other.
create schema if not exists rotation;

-- verifier: what PostgreSQL would keep of the password (SCRAM-SHA-256); the password itself never gets here.
-- Returns the login whose password it is now.
create or replace function rotation.set_password_of_twin(verifier text) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    twin text := left(session_user, -1) || case right(session_user, 1) when 'a' then 'b' else 'a' end;
begin
    if session_user !~ '^(api|publisher|dagster)_[ab]$' then
        raise exception '% has no twin', session_user;
    end if;
    if verifier is null or verifier !~ '^SCRAM-SHA-256\$[0-9]+:[^$:]+\$[^$:]+:[^$:]+$' then
        raise exception 'this is no verifier of a password' using hint = 'SCRAM-SHA-256$iterations:salt$stored:server';
    end if;
    execute format('alter role %I password %L', twin, verifier);
    return twin;
end
$$;

revoke all on function rotation.set_password_of_twin from public;
grant usage on schema rotation to :programs;
grant execute on function rotation.set_password_of_twin to :programs;
