"""Models as files: read strictly, written whole or not at all.

One format for `estep_xp.save` and `estep_xp.load` and for the command line's MODEL.json. Nothing
here prints, and errors are Python's own: ValueError, TypeError, OSError.
"""
