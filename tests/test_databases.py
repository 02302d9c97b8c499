"""What one test leaves in its database is nothing to the next."""

from nextfire.embedded import Postgres
from tests.databases import Databases, connected

DUTY = "INSERT INTO duties (name, holder, begun_at) VALUES ('sweep', gen_random_uuid(), now())"

MANY = "INSERT INTO duties SELECT 'duty ' || n, gen_random_uuid(), now() FROM generate_series(1, 50000) AS n"


async def test_what_is_lent_again_has_no_rows_and_nobody_in_it(postgres: Postgres, databases: Databases) -> None:
    # given a database with rows, a counter that has counted, and a connection that its test has forgotten
    name = await databases.take()
    async with connected(postgres, name) as forgotten:
        await forgotten.execute(DUTY)
        await forgotten.execute("SELECT nextval('events_id_seq')")
        # when it is given back, and taken again
        await databases.give_back(name)
        assert await databases.take() == name
    # then nothing of that is there
    async with connected(postgres, name) as connection:
        assert await connection.fetchval("SELECT count(*) FROM duties") == 0
        assert await connection.fetchval("SELECT nextval('events_id_seq')") == 1
        others = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()"
        assert await connection.fetchval(others, name) == 0
        assert await connection.fetchval("SELECT count(*) FROM alembic_version") == 1
    await databases.give_back(name)


async def test_what_has_another_shape_or_size_is_lent_to_nobody(postgres: Postgres, databases: Databases) -> None:
    for change in ("ALTER TABLE agents ADD COLUMN stray text", "CREATE INDEX ON agents (url)", MANY):
        name = await databases.take()
        async with connected(postgres, name) as connection:
            await connection.execute(change)
        await databases.give_back(name)
        another = await databases.take()
        assert another != name
        await databases.give_back(another)
