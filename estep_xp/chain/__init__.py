"""The structure that joins components by a Markov chain: recursions over rows, their E-step."""
