"""The routes, one module a subject; `app.create_app` puts them together."""
