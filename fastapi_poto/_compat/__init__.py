"""All that is read of FastAPI, Starlette, Pydantic and uvicorn without being published by them."""
