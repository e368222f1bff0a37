"""Asks the API: requests, rate limits, retries, responses, cursors, accounts."""
