"""A plain, slow reading of the contract: the oracle of the property tests.

Belongs here: the words of the contract as dictionaries and loops over plain rows, one function a
sentence where that can be. Does not belong here: pandas, numpy, speed, or anything taken from the
code that these readings are compared with.
"""
