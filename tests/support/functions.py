"""What stands in the database's functions, for tests of how it is planned."""


async def query_of(connection, function):
    """The query whose rows a function returns, with its parameters as they are numbered there."""
    source = await connection.fetchval("SELECT prosrc FROM pg_proc WHERE proname = $1", function)
    return source.partition("RETURN QUERY")[2].rpartition(";\nEND")[0]
