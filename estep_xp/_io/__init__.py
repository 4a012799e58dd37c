"""What the command line and the page read and write: numbers, models, data and results."""
