"""What jaxtyping's import hook checks annotations with: beartype, with an int where a float is asked for.

`conftest.py` installs it. mypy reads `float` in the same way (PEP 484).
"""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
