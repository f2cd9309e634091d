"""From rows to pages: tables, plots and the templates' context."""
