"""Names that files, folders, classes and runs may have, and what must not come of them."""

ESCAPE = "\x1b[31mred\x1b]0;title\x07"
BYTES = "caf\udce9"  # the bytes b"caf\xe9", which are not UTF-8
NAMES = (
    BYTES,
    ESCAPE,
    "two\nlines",
    "carriage\rreturn\ttab",
    "<img src=x onerror=alert(1)>",
    "a|b|c",
    "`code` ``x``",
    "[link](http://example.org) www.example.org",
    "**bold** _it_ ~~no~~ # not a title",
    "</details>",
    "=cmd|'/c calc'!A1",
    "+1",
    "-1",
    "@SUM(A1)",
    "'quoted",
    "$x_1$ and $y^2$",
    "5$",
    r"\alpha_{2} & 50% #1 ~",
    "_private",
    "",
    " leading",
    "trailing ",
    "nan",
    "null",
    "all",
    "true",
    "Rose",
    "rose",
    "\u00e9toile",
    "e\u0301toile",  # the same letters, decomposed, as macOS writes them
    "\u202egnp.exe",  # reversed by a bidirectional override
    "\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627",  # Hebrew, Arabic
    "\u73ab\u7470",  # Chinese: in no font of matplotlib's
    "\U0001f339",  # an emoji
    "x" * 250,
    "x" * 249 + "y",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",  # emoji joined to one
    "a\ufe0f",
    "\ufeffbom",
)
