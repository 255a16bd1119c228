"""One secret by its name: from the environment, else from a Prefect Secret block.

The environment wins, because it is what a person sees and a container sets. A block is looked for under the same name in
Prefect's spelling (ALPACA_API_KEY is the block alpaca-api-key). The value travels as a SecretStr: printed, logged or
in an error it is stars, and only the call that hands it to a library opens it.
"""

import os
from importlib import import_module

from pydantic import SecretStr

from flows.prefect_home import configure
from flows.settings import home


class SecretMissing(Exception):
    """A secret is neither in the environment nor in a block; the message says where it is looked for."""


def block_name(name: str) -> str:
    """
    >>> block_name("ALPACA_IRA_API_KEY")
    'alpaca-ira-api-key'
    """
    return name.lower().replace("_", "-")


def secret(name: str) -> SecretStr:
    """A secret by the name of its environment variable.

    Errors   SecretMissing says how to set it.
    """
    if value := os.environ.get(name):
        return SecretStr(value)
    found = _from_block(block_name(name))
    if found is None:
        raise SecretMissing(
            f"{name} is not set: export it, or make the Prefect Secret block {block_name(name)} (Blocks in the Prefect page)"
        )
    return found


def _from_block(name: str) -> SecretStr | None:
    """Prefect takes seconds to load, so it is loaded only when the environment has no answer."""
    configure(home())
    block = import_module("prefect.blocks.system").Secret
    try:
        held = block.load(name).value
    except ValueError:  # that is how Prefect says that there is no such block
        return None
    except import_module("httpx").HTTPError as lost:
        raise SecretMissing(
            f"the Prefect Secret block {name} cannot be asked for ({type(lost).__name__}): start Prefect, or export the variable"
        ) from None
    return SecretStr(held.get_secret_value() if hasattr(held, "get_secret_value") else str(held))
