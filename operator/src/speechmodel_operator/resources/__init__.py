"""Pure builders of Kubernetes objects, as plain dictionaries."""
