"""The sub-commands of `flakelag`, a module each.

Those that read what is published (`status`, `history`) answer in under a second, so they import
neither Dagster nor pandas, whose imports alone take longer than that.
"""
