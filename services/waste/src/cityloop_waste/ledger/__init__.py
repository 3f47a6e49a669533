"""The ledger of every tonne: weighed loads, their corrections, and what is estimated to be generated."""
