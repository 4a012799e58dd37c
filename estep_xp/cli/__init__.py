"""The command line: what each command takes, and the way from files to files.

Imports go down in this order: `main` says what each command takes, `write/` writes results and
reports, `compute/` calls the library, `read/` reads data and models, `system/` sees to files,
signals, terminals and optional packages, `text/` turns typed words into numbers and values into
words. None of these does mathematics of its own.
"""
