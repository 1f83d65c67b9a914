"""The compared methods that ltjax does not have, each with the reason that stands in the row's place."""

NOT_BUILT: dict[str, str] = {
    "ELF": "no code is public, and no public page says how its exits are built or when an image takes one",
    "IEM": "no code is public, and no public page gives its memory's size and updates or its region self-attention",
}
