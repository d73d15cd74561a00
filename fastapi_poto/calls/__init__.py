"""One call: from a request to the method, and from its result to the response."""
