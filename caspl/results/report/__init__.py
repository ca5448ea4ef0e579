"""One page with all tables and pictures of a folder of runs; what it needs comes with the extra ``[report]``.

Every picture is drawn from the tables that ``python -m caspl.results`` prints, so that both say the same.
"""
