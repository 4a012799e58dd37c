"""The ground floor: array libraries, a block's arithmetic and layout, and checks of arrays.

Here stands what the Array API standard lacks (logsumexp, triangular factors, exact sums) and what
differs between libraries (namespace, dtype, device, values at hand or not). Nothing here knows of a
mixture, a family or a driver.
"""
