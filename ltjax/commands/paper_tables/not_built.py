"""The compared methods that ltjax does not have, each with the reason that stands in the row's place."""

NOT_BUILT: dict[str, str] = {
    "ELF": "no code is public, and the pages that are do not say how its exits are built or when an image takes one",
    "IEM": "no code is public, and the abstract gives neither the size nor the updates of its memory, nor the layers of "
    "its region self-attention",
}
