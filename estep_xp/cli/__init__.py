"""The command line: what each command takes, and the way from files to files.

`read/` reads data and models, `write/` writes results and reports, `text/` turns typed words into
numbers and values into words, `system/` sees to files, signals, terminals and optional packages.
None of these does mathematics of its own.
"""
