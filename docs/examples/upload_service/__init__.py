"""An upload service whose users have quotas: what it takes to meter a handler."""
