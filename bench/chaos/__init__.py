"""Fault injection: real processes, real faults, and a count of what was acknowledged and what was applied."""
