"""What the page consists of; :mod:`estep_xp.calculator` puts it together."""
