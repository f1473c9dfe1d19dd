"""What stands in the database's functions, for tests of how it is planned."""


async def query_of(connection, function):
    """The query whose rows a function returns, with its parameters as they are numbered there.

    The connection has the function's settings from then on.
    """
    asked = "SELECT prosrc, proconfig FROM pg_proc WHERE proname = $1"
    source, settings = await connection.fetchrow(asked, function)
    for setting in settings or ():
        await connection.execute("SELECT set_config($1, $2, false)", *setting.split("="))
    return source.partition("RETURN QUERY")[2].rpartition(";\nEND")[0]
