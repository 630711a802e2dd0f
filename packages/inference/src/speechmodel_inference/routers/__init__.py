"""The routers: transcriptions, models, the model's card, the page, health and metrics."""
