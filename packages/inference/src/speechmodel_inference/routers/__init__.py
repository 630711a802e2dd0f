"""The routers: transcriptions, models, health and metrics."""
