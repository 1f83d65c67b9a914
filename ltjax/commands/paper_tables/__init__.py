"""The tables that ``python -m ltjax.table`` makes: two benchmarks, and those of papers, one module for each.

A paper's module is plain data, ``TABLES: dict[str, PaperTable]`` by the number that the paper gives ("1", "2", ...;
"figure5" for the sweep of a figure). To add a table:

1. ``title``: the caption in short. ``header``: the headings of the columns of text ("Method", "Backbone Model").
   ``columns``: the headings of the groups of numbers ("ImageNet-LT: ResNet-10", ...), ``("",)`` for one group.
   ``metrics``: heading -> where our number is (``render.value_of``); ``SHOTS`` (Many, Medium, Few, All), ``ALL``, or
   a dict of its own, such as ``{"tau": "report.tau", **SHOTS}``. ``shots``: the paper's thresholds.
2. One ``Row(labels, results)`` for each of the paper's rows, in its words, and a ``Result`` for each column group:

       Row(("LWS", "ResNet-10"), (Result("51.8 41.6 27.6 43.0", "imagenet_decoupling:lws,backbone=resnet10",
                                          starts_from="imagenet_ce:backbone=resnet10"),))

   ``published`` is what the paper prints, digit by digit, "-" where it prints none. ``config`` is FILE:WORDS, the
   shortest that gives the run: leave out words that the file has as defaults, because the cell is named by it and
   runs of other tables that are the same have to have the same name (a test resolves all and compares).
3. A row that is another prediction of a run (one expert, one branch) has that run's ``config`` and a ``view``, the
   name in its ``results["views"]``; it trains nothing.
4. A row that nobody can run from public sources has no ``config`` but a ``reason``, one sentence; those of whole
   methods are in ``not_built``.
5. A run that needs pretrained weights names them (``weights="resnet152"``): the user gives ``--weights NAME=FILE``.

``tests/commands/test_paper_tables.py`` resolves every config of every table, here and with --data=mnist5k.
"""

from ltjax.commands.paper_tables import asynchronous, auxiliary, decoupling, lift, reslt
from ltjax.commands.paper_tables.ablation import Ablation
from ltjax.commands.paper_tables.benchmarks import BENCHMARKS, Benchmark
from ltjax.commands.paper_tables.structure import PaperTable

Table = Ablation | Benchmark | PaperTable
PAPERS: dict[str, dict[str, PaperTable]] = {
    "reslt": reslt.TABLES,
    "decoupling": decoupling.TABLES,
    "asynchronous": asynchronous.TABLES,
    "auxiliary": auxiliary.TABLES,
    "lift": lift.TABLES,
}
TABLES: dict[str, Benchmark | PaperTable] = {
    **BENCHMARKS,
    **{f"{paper}:{number}": table for paper, tables in PAPERS.items() for number, table in tables.items()},
}
