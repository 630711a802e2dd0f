"""Input and output documents of the stage programs (contract.py says how they travel)."""
