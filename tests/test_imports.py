"""Which module imports which: one direction between the folders is import-linter's; here, no circles within them."""

from __future__ import annotations

from graphlib import TopologicalSorter

import grimp


def test_no_module_imports_itself_over_others() -> None:
    """Not even for types, or inside a function."""
    graph = grimp.build_graph("api", "worker", "jobs", "db", cache_dir=None)
    TopologicalSorter({one: graph.find_modules_directly_imported_by(one) for one in graph.modules}).prepare()
