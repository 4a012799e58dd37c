"""Results, reports and pictures, to files and terminals."""
