"""Pseudonyms for invented people: two words that say nothing about anybody."""

from collections.abc import Iterator
from random import Random

_COLOURS = (
    "Amber", "Ashen", "Azure", "Brass", "Bright", "Chalk", "Cobalt", "Copper", "Coral", "Dusky", "Ebony", "Flint",
    "Frosty", "Gilded", "Hazel", "Indigo", "Ivory", "Jade", "Lilac", "Mossy", "Ochre", "Olive", "Pearl", "Plum",
    "Rosy", "Russet", "Sable", "Sandy", "Silver", "Teal", "Umber", "Velvet",
)  # fmt: skip
_BIRDS = (
    "Auk", "Avocet", "Bittern", "Bunting", "Curlew", "Dipper", "Dunlin", "Eider", "Egret", "Finch", "Fulmar", "Gannet",
    "Godwit", "Heron", "Jackdaw", "Kestrel", "Lapwing", "Linnet", "Martin", "Merlin", "Osprey", "Petrel", "Pipit",
    "Plover", "Puffin", "Redwing", "Sanderling", "Shearwater", "Skua", "Tern", "Turnstone", "Wagtail",
)  # fmt: skip


def pseudonyms(chance: Random) -> Iterator[str]:
    """Endless; a name comes back only after a thousand others."""
    names = [f"{colour} {bird}" for colour in _COLOURS for bird in _BIRDS]
    while True:
        chance.shuffle(names)
        yield from names
