"""A real PostgreSQL with the API's tables: certificates are issued by the API itself."""

from api.tests.conftest import empty_database, fresh_data, postgres  # noqa: F401 - fixtures
