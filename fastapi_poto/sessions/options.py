"""What a store's URL says after its question mark."""

from math import inf


def take_number(options: dict[str, str], name: str, default: float) -> float:
    """Take a number out of the URL's options. Raises `ValueError` unless it is more than 0."""
    number = float(options.pop(name, default))
    if not 0 < number < inf:
        raise ValueError(f"{name} is to be more than 0")
    return number
