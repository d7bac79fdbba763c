"""Networks that this project trains."""
