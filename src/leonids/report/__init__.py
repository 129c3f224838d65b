"""What a study found, for a reader: explain lines, the observation document, figures, tables."""
