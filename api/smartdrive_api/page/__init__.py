"""The owner's page: a few pages of HTML, made on the server, without a script."""
