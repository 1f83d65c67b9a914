"""Asynchronous modelling's settings (anonymous, "Asynchronous modeling", sections 3, 5, appendix A), and its words.

"literal" marks the paper's formula where the default is another reading.
"""

import dataclasses
from typing import Literal

from ltjax.settings import Block, Settings, config_file, setting
from ltjax.settings.config_dict import Config
from ltjax.settings.config_file import Word, sets
from ltjax.settings.schema import Check, integer, not_negative, one_of, positive

_all_or_more = Check(lambda v: v >= 0, "0 (all) or more")


@dataclasses.dataclass(frozen=True, kw_only=True)
class AsynchronousSettings(Block):
    """config.asynchronous."""

    plain: bool = setting(False, "one phase over all classes, same head and sampling: the paper's 'Ours (plain)'")
    split: int = setting(
        0,
        "number of classes, most frequent first, in the first phase; 0 = those with at least 20 images (appendix A)",
        Check(lambda v: v >= 0, "0 (by count) or 1 to the number of classes - 1"),
    )
    bank_size: int = setting(10, "exemplars of a frequent class; figure 2(a) has 2, 6, 10, 14, 18", integer(1))
    similarity: Literal["cosine", "negative_l2"] = setting(
        "cosine", "s of eqs. 2 to 7: cosine, or negative_l2, minus the distance", one_of("cosine", "negative_l2")
    )
    lambda_base: float = setting(
        1.0,
        "lambda = lambda_base * sqrt(old classes / new classes) (appendix A; 2.03, the best of figure 2(b))",
        not_negative,
    )
    lambda_value: float | None = setting(None, "lambda itself; None: by lambda_base", not_negative)
    node_reduction: str = setting(
        "mean",
        "over the batch's nodes in eq. 8: mean, so that the loss keeps the scale of the others; literal: sum",
        one_of("mean", "sum"),
    )
    normalize_features: bool = setting(True, "of length 1 before eqs. 6 and 7; literal: false")
    temperature: float = setting(1.0, "of the softmax of eq. 6, where the paper has none; lower sharpens it", positive)
    margin: float = setting(0.5, "m; the paper gives no value, this is LUCIR's (Hou et al., 2019)", not_negative)
    margin_weight: float = setting(1.0, "factor on the margin loss; 0 turns it off", not_negative)
    margin_top_k: int = setting(
        2,
        "the largest negatives that count (LUCIR's 2, 'the highest negative score' of the text); literal: 0 = all",
        _all_or_more,
    )
    margin_scope: str = setting(
        "exemplars",
        "exemplars: memory against rare classes, the purpose; literal: all, every image against every other class",
        one_of("exemplars", "all"),
    )
    margin_reduction: str = setting("mean", "over the negatives: mean (LUCIR); literal: sum", one_of("mean", "sum"))
    epoch_size: int = setting(
        0,
        "draws that make an epoch of the second phase; 0 = as many as it has images, exemplars and rare ones",
        integer(0),
    )


def resolve(config: Settings, settings: AsynchronousSettings) -> Settings:
    """The second phase has the first one's epochs unless it is given its own: algorithm 1 has one T."""
    del settings
    if config.second_stage_epochs is not None:
        return config
    return dataclasses.replace(config, second_stage_epochs=config.epochs)


def short(config: Config, value: str) -> None:
    """The common ``short``, in both phases."""
    config_file.short(config, value)
    config.second_stage_optimizer = config.optimizer.copy_and_resolve_references()


# Eqs. 6 to 9 as they are printed
LITERAL: Word = {
    "asynchronous.node_reduction": "sum",
    "asynchronous.normalize_features": False,
    "asynchronous.margin_top_k": 0,
    "asynchronous.margin_scope": "all",
    "asynchronous.margin_reduction": "sum",
}
WORDS: dict[str, Word] = {
    "plain": {"asynchronous.plain": True},
    "literal": LITERAL,
    "bank": sets("asynchronous.bank_size", int),
    "split": sets("asynchronous.split", int),
    "lambda": sets("asynchronous.lambda_value"),
    "lambda_base": sets("asynchronous.lambda_base"),
    "second_stage_epochs": sets("second_stage_epochs", int),
    "short": short,
}
