"""What all tests sign with."""

SECRET = "kZ3nQ0vT8rW5yB1xF6hJ9mL2pS4uD7aE-gC_iKoNqRt"
