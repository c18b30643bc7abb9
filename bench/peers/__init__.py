"""What the field's job queues reach on the same machine: one job per event, each inserted as one row (README.md)."""
