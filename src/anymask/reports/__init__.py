"""Writers of reports: tables, plots and pictures in, Markdown and self-contained HTML out."""
