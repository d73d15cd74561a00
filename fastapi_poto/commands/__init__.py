"""`python -m fastapi_poto`: users, sign-ins, keys and stores from a shell, and the audit."""
