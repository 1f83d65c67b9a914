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

    plain: bool = setting(
        False, "train one phase over all classes with the same head and sampling: the paper's 'Ours (plain)'"
    )
    split: int = setting(
        0,
        "number of most frequent classes in the first phase; 0 = those with at least 20 images (appendix A)",
        Check(lambda v: v >= 0, "0 (by count) or 1 to the number of classes - 1"),
    )
    bank_size: int = setting(10, "exemplars of each frequent class; figure 2(a) has 2, 6, 10, 14, 18", integer(1))
    similarity: Literal["cosine", "negative_l2"] = setting(
        "cosine",
        "the similarity s of eqs. 2 to 7: cosine, or negative_l2 (minus the distance)",
        one_of("cosine", "negative_l2"),
    )
    lambda_base: float = setting(
        1.0,
        "factor of lambda = lambda_base * sqrt(old classes / new classes) (appendix A; figure 2(b)'s best is 2.03)",
        not_negative,
    )
    lambda_value: float | None = setting(None, "lambda itself; None: from lambda_base", not_negative)
    node_reduction: str = setting(
        "mean",
        "reduction over the batch's nodes in eq. 8: mean, so that the loss keeps the scale of the "
        "others, or sum (the paper's literal equation)",
        one_of("mean", "sum"),
    )
    normalize_features: bool = setting(
        True, "scale features to length 1 before eqs. 6 and 7; false: the paper's literal equations"
    )
    temperature: float = setting(
        1.0, "temperature of the softmax of eq. 6, where the paper has none; a lower one sharpens it", positive
    )
    margin: float = setting(
        0.5, "the margin m; the paper gives no value, this is LUCIR's (Hou et al., 2019)", not_negative
    )
    margin_weight: float = setting(1.0, "factor on the margin loss; 0 turns it off", not_negative)
    margin_top_k: int = setting(
        2,
        "number of largest negatives in the margin loss (LUCIR's 2; the text has 'the highest "
        "negative score'); 0 = all (the paper's literal equation)",
        _all_or_more,
    )
    margin_scope: str = setting(
        "exemplars",
        "images in the margin loss: exemplars (memory against rare classes, its purpose), or all "
        "(every image against every other class, the paper's literal equation)",
        one_of("exemplars", "all"),
    )
    margin_reduction: str = setting(
        "mean",
        "reduction over the negatives: mean (LUCIR) or sum (the paper's literal equation)",
        one_of("mean", "sum"),
    )
    epoch_size: int = setting(
        0,
        "draws per epoch of the second phase; 0 = its number of images, exemplars and rare ones",
        integer(0),
    )
    second_sampler: str = setting(
        "",
        "the second phase's sampler, a name as in data.sampler, which is the first phase's; '' = the same (section "
        "3.2.1 speaks of the first phase only)",
        added_later=True,
    )
    imprint: bool = setting(
        True,
        "start the classifier rows of the second phase's classes at their mean features (LUCIR); false: at random",
        added_later=True,
    )


def resolve(config: Settings, settings: AsynchronousSettings) -> Settings:
    """The second phase has the first one's epochs unless it is given its own: algorithm 1 has one T."""
    del settings
    if config.second_stage_epochs is not None:
        return config
    return dataclasses.replace(config, second_stage_epochs=config.epochs)


def short(config: Config, value: str) -> None:
    """The common ``short``, in both phases; the second keeps its learning rate."""
    config_file.short(config, value)
    rate = config.second_stage_optimizer.learning_rate
    config.second_stage_optimizer = config.optimizer.copy_and_resolve_references()
    config.second_stage_optimizer.learning_rate = rate


def plain(config: Config, value: str) -> None:
    """One phase. The second's learning rate, which it does not use, is that of the runs before ``one_rate`` existed."""
    one_rate(config, value)
    config.asynchronous.plain = True


def one_rate(config: Config, value: str) -> None:
    """The second phase at the learning rate of the first: algorithm 1 has one."""
    config_file.no_value(value)
    config.second_stage_optimizer.learning_rate = config.optimizer.learning_rate


# Eqs. 6 to 9 as they are printed
LITERAL: Word = {
    "asynchronous.node_reduction": "sum",
    "asynchronous.normalize_features": False,
    "asynchronous.margin_top_k": 0,
    "asynchronous.margin_scope": "all",
    "asynchronous.margin_reduction": "sum",
}
WORDS: dict[str, Word] = {
    "plain": plain,
    "literal": LITERAL,
    "one_rate": one_rate,
    "bank": sets("asynchronous.bank_size", int),
    "split": sets("asynchronous.split", int),
    "lambda": sets("asynchronous.lambda_value"),
    "lambda_base": sets("asynchronous.lambda_base"),
    "second_stage_epochs": sets("second_stage_epochs", int),
    "short": short,
}
