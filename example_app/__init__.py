"""An app to learn from: a shop, a chat that answers token by token, and an admin. `make run` starts it."""
