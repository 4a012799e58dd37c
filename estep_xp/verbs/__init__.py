"""What users ask of a model, whatever its structure: mixtures answer, or hidden Markov models.

The one place that knows both structures below EM; they do not know each other.
"""
