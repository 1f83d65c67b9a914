"""What ltjax knows of a method: the function that makes its stages, its settings, its words behind the colon."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from ltjax.data import Data
from ltjax.methods.mixing import with_mix
from ltjax.methods.refusals import UNDECLARED
from ltjax.methods.stage import AnyStage
from ltjax.methods.tuning import with_tuning
from ltjax.settings import Block, Settings
from ltjax.settings.config_file import Word

B = TypeVar("B", bound=Block)


@dataclasses.dataclass(frozen=True)
class Method(Generic[B]):
    """One method.

    Attributes:
      stages: (config, the method's own settings, data) -> its stages.
      settings: the class of its own settings; ``Block`` has none.
      block: the name of these settings in a config, config.<block>; "" = it has none.
      words: behind the colon of a config file, beside those that all methods have.
      resolve: (config, the method's own settings) -> config with what depends on other settings filled in, such as a
        number that goes with the imbalance.
      refuses: flat key of a setting that all methods have ("mix.name") -> why this method cannot be combined with
        another value of it than the default, such as "its loss compares the images of a batch". {}: it goes with all
        of them; "mix.name=remix" refuses that value alone. By default those that a method has to be written for are
        refused (``refusals.UNDECLARED``).
      several_labels: whether it learns from images with any number of classes (``Source.label_sets``).
    """

    stages: Callable[[Settings, B, Data], Sequence[AnyStage]]
    settings: type[B]
    block: str = ""
    words: Mapping[str, Word] = dataclasses.field(default_factory=dict)
    resolve: Callable[[Settings, B], Settings] = lambda config, own: config
    refuses: Mapping[str, str] = dataclasses.field(default_factory=lambda: UNDECLARED)
    several_labels: bool = False

    def __call__(self, config: Settings, data: Data) -> Sequence[AnyStage]:
        """The stages of a run, with config.tuning and config.mix."""
        own: Any = config.method_settings
        return with_mix(with_tuning(self.stages(config, own, data), config, data), config, data)


AnyMethod = Method[Any]
